"""Ids: lists, floats, missing ones, and types of Parquet."""

from __future__ import annotations

import datetime

import polars as pl

from tests.data.nasty.case import parquet, read, refuse

__all__ = ["IDS"]

USERS = ["a", "a", "b"]


def items(values: list[object], kind: object = None) -> bytes:
    """A Parquet file with such items."""
    return parquet({"user": USERS, "item": values}, **({} if kind is None else {"item": kind}))


IDS = [
    read("leading zeros", "x.csv", "user,item\n01,007\n1,7\n", "01:007 1:7"),
    read("integers as floats", "x.csv", "user,item\n1.0,5801.0\n2.0,5.0\n", "1:5801 2:5"),
    read("versions are no floats", "x.csv", "user,item\na,1.0\nb,1.1\n", "a:1.0 b:1.1"),
    read("ids with dots and zeros", "x.csv", "user,item\na,1.0\nb,10\n", "a:1.0 b:10"),
    read(
        "titles with commas",
        "x.csv",
        'user,item\na,"Crosby, Stills"\nb,x\n',
        "a:Crosby,_Stills b:x",
    ),
    read("one id with a bar", "x.csv", "user,item\na,k|7\na,x\nb,y\n", "a:k|7 a:x b:y"),
    refuse(
        "a list of numbers", "x.tsv", "user\titem\nu\t1,2,3\nv\t4\n", "expected one item per row"
    ),
    refuse(
        "a list with spaces", "x.tsv", "user\titem\nu\t1 2 3\nv\t4\n", "line 2: expected one item"
    ),
    refuse("a list with bars", "x.csv", "user,item\nu,1\nv,4|5\n", "line 3: expected one item"),
    refuse("a list of words", "x.tsv", "user\titem\nu\tx,y\nv\ty,z\n", "expected one item per row"),
    refuse(
        "a list in brackets", "x.csv", 'user,item\nu,"[1, 2]"\nv,4\n', "expected one item per row"
    ),
    refuse("a list of users", "x.csv", 'user,item\n"1,2",x\n3,y\n', "expected one user per row"),
    refuse("a tuple", "x.csv", "user;item\nu;(1, 2)\nv;4\n", "one item per row", separator=";"),
    refuse(
        "no item", "x.csv", "user,item\na,x\nb,\n", "1 of 2 rows have no item; the first is line 3"
    ),
    refuse("a blank user", "x.csv", "user,item\n  ,x\nb,x\n", "have no user; the first is line 2"),
    refuse(
        "a missing item", "x.csv", "user,item\na,1\nb,nan\n", "line 3: expected the id of an item"
    ),
    refuse("a missing user", "x.csv", "user,item\n7,1\nNULL,2\n", "expected the id of a user"),
    read("an item called null", "x.csv", "user,item\na,null\nb,x\n", "a:null b:x"),
    read("float items", "x.parquet", items([123.0, 5.0, 5.0]), "a:123 a:5 b:5"),
    read("integer items", "x.parquet", items([3, 2, 3], pl.UInt64), "a:3 a:2 b:3"),
    read("categories", "x.parquet", items(["x", "y", "x"], pl.Categorical), "a:x a:y b:x"),
    refuse(
        "fractions as items",
        "x.parquet",
        items([1.5, 2.0, 3.0]),
        "row 1: expected the id of an item, got 1.5",
    ),
    refuse("floats beyond 2^53", "x.parquet", items([1e17, 2.0, 3.0]), "row 1: expected the id"),
    refuse(
        "a NaN item", "x.parquet", items([1.0, float("nan"), 3.0]), "no item; the first is row 2"
    ),
    refuse("a null item", "x.parquet", items([1, None, 3]), "1 of 3 rows have no item"),
    refuse(
        "lists of items", "x.parquet", items([["x"], ["y"], []]), "type List.*; expected text or"
    ),
    refuse(
        "structs", "x.parquet", items([{"k": 1}] * 3), "type Struct.*; expected text or integers"
    ),
    refuse("bytes", "x.parquet", items([b"x", b"y", b"x"]), "type Binary; expected text"),
    refuse("booleans", "x.parquet", items([True, False, True]), "type Boolean; expected text"),
    refuse("dates as items", "x.parquet", items([datetime.date(2026, 1, 1)] * 3), "type Date"),
    read(
        "a list that is not needed",
        "x.parquet",
        parquet({"user": USERS, "item": ["x", "y", "x"], "tags": [["p"], [], ["q"]]}),
        "a:x a:y b:x",
    ),
    read(
        "an object that is not needed",
        "x.parquet",
        parquet({"user": USERS, "item": ["x", "y", "x"], "meta": [{"p": 1}] * 3}),
        "a:x a:y b:x",
    ),
    refuse("no rows", "x.parquet", parquet({"user": [], "item": []}), "no interactions"),
    refuse(
        "two Parquet names",
        "x.parquet",
        parquet({"user": USERS, "item": USERS, "Item": USERS}),
        "several",
    ),
    refuse(
        "one user", "x.csv", "user,item\na,x\na,y\n", "1 user; a recommender needs at least two"
    ),
]
