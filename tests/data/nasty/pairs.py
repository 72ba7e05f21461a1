"""Repeated pairs, ratings that change, and what two files share."""

from __future__ import annotations

from tests.data.nasty.case import read, refuse

__all__ = ["PAIRS"]

CHANGED = "user,item,rating,timestamp\nu,a,5,100\nu,a,1,200\nu,b,5,1\nv,a,5,1\nv,b,4,1\n"

PAIRS = [
    read(
        "a repeated pair",
        "x.csv",
        "user,item\na,x\na,y\na,x\nb,x\n",
        "a:y a:x b:x",
        {"repeated pairs merged": 1},
    ),
    read(
        "a pair that moves",
        "x.csv",
        "user,item,ts\na,x,9\na,y,5\na,x,1\nb,x,1\n",
        "a:y a:x b:x",
        {"repeated pairs merged": 1},
    ),
    read(
        "a rating that fell",
        "x.csv",
        CHANGED,
        "u:b v:a v:b",
        {"repeated pairs merged": 1, "pairs dropped for their rating": 1},
        min_rating=4,
    ),
    read(
        "a rating that fell, kept",
        "x.csv",
        CHANGED,
        "u:b u:a v:a v:b",
        {"repeated pairs merged": 1},
    ),
    refuse("too much to ask", "x.csv", CHANGED, "no interaction is rated 6 or more", min_rating=6),
    refuse(
        "no ratings", "x.csv", "user,item\na,x\nb,x\n", "there is no rating column", min_rating=4
    ),
]
