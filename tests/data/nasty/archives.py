"""Compressed files, other encodings, and files that are something else altogether."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import zipfile

import numpy as np

from tests.data.nasty.case import parquet, read, refuse

__all__ = ["ARCHIVES"]

CSV = "user,item\na,x\na,y\nb,x\n"
FOUND = "a:x a:y b:x"


def zipped(**members: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return out.getvalue()


def numpy_file() -> bytes:
    out = io.BytesIO()
    np.save(out, np.zeros((3, 2)))
    return out.getvalue()


ARCHIVES = [
    read("gzip", "x.csv.gz", gzip.compress(CSV.encode()), FOUND),
    read("gzip without its suffix", "x.csv", gzip.compress(CSV.encode()), FOUND),
    read("gzip of a tsv", "x.tsv.gz", gzip.compress(CSV.replace(",", "\t").encode()), FOUND),
    read("gzip of a train.txt", "train.txt.gz", gzip.compress(b"a x y\nb x\n"), FOUND),
    refuse("half of a gzip", "x.csv.gz", gzip.compress(CSV.encode() * 99)[:-12], "cannot be read"),
    read("zip", "x.zip", zipped(x__csv=CSV), FOUND),
    read("zip of a tsv", "x.zip", zipped(x__tsv=CSV.replace(",", "\t")), FOUND),
    refuse(
        "zip of two files", "x.zip", zipped(a__csv=CSV, b__csv=CSV), r"2 files \(a.csv, b.csv\)"
    ),
    refuse("an empty zip", "x.zip", zipped(), "x.zip"),
    refuse("half of a zip", "x.zip", zipped(x__csv=CSV * 9)[:-30], "cannot be read: File is not a"),
    refuse("a workbook", "x.xlsx", zipped(**{"xl/workbook__xml": "<x/>"}), "Excel workbook"),
    refuse("a workbook named csv", "x.csv", zipped(**{"xl/w__xml": "<x/>"}), "Excel workbook"),
    refuse("an old workbook", "x.xls", b"\xd0\xcf\x11\xe0\xa1\xb1", "is an Excel workbook"),
    refuse("bzip2", "x.csv.bz2", bz2.compress(CSV.encode()), "compressed with bzip2"),
    refuse("xz", "x.csv.xz", lzma.compress(CSV.encode()), "compressed with xz"),
    refuse("zstd", "x.csv.zst", b"\x28\xb5\x2f\xfd\x04", "compressed with Zstandard"),
    refuse("a pickle", "x.csv", pickle.dumps([1, 2]), "a pickle, which is never loaded"),
    refuse("a pickle of protocol 2", "x.pkl", pickle.dumps([1, 2], 2), "a pickle, which is never"),
    refuse("a numpy array", "x.npy", numpy_file(), "is a numpy array; save it as Parquet"),
    refuse("a numpy archive", "x.npz", zipped(a__npy="x"), "is a numpy archive"),
    refuse("SQLite", "x.db", b"SQLite format 3\0rest", "an SQLite database; export the table"),
    refuse("HDF5", "x.h5", b"\x89HDF\r\n\x1a\n", "is an HDF5 file"),
    refuse("Arrow", "x.feather", b"ARROW1\0\0", "is an Arrow file; save it as Parquet"),
    refuse("a bundle", "x.csv", b"EDGEREC1\0\0", "a file of edgerec; name the data"),
    refuse("JSON lines", "x.json", '{"user": 1, "item": 2}\n', "is JSON; save it as CSV"),
    refuse("JSON named csv", "x.csv", '[{"user": 1}]', "is JSON; save it as CSV"),
    refuse("a web page", "x.csv", "<!DOCTYPE html><html>", "is a web page"),
    refuse("XML", "x.csv", '<?xml version="1.0"?>', "is a web page or XML"),
    refuse("a pointer", "x.csv", "version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    read("a byte order mark", "x.csv", "\ufeff" + CSV, FOUND),
    read("a quoted header after a mark", "x.csv", '\ufeff"user","item"\na,x\na,y\nb,x\n', FOUND),
    read("UTF-16", "x.csv", CSV.encode("utf-16"), FOUND),
    read("UTF-16, the other order", "x.csv", b"\xfe\xff" + CSV.encode("utf-16-be"), FOUND),
    read("UTF-32", "x.csv", CSV.encode("utf-32"), FOUND),
    refuse("UTF-16 without a mark", "x.csv", CSV.encode("utf-16-le"), "looks like UTF-16 without"),
    read("other alphabets", "x.csv", "user,item\nå,茶\nå,ж\nb,茶\n", "b:茶 å:茶 å:ж"),
    refuse(
        "Latin-1",
        "x.csv",
        "user,item\na,x\na,é\nb,x\n".encode("latin-1"),
        r"line 3 is not UTF-8 \(byte 0xe9\); convert",
    ),
    refuse(
        "Latin-1 far down",
        "x.csv",
        (CSV + "c,x\n" * 40_000 + "é,x\n").encode("latin-1"),
        r"line 40005 is not UTF-8 \(byte 0xe9\)",
    ),
    refuse("binary", "x.csv", b"user,item\n\0\0\0\0", "it looks like a binary file"),
    refuse("nothing", "x.csv", b"", "the file is empty"),
    refuse("blanks", "x.csv", " \n\n \n", "the file is empty"),
    read(
        "Parquet named csv", "x.csv", parquet({"user": ["a", "b"], "item": ["x", "y"]}), "a:x b:y"
    ),
    refuse("csv named Parquet", "x.parquet", CSV, "cannot be read as Parquet: its content is text"),
    refuse("csv passed as Parquet", "x.csv", CSV, "its content is text", format="parquet"),
    refuse(
        "half of a Parquet file",
        "x.parquet",
        parquet({"user": ["a"] * 900, "item": ["x"] * 900})[:-40],
        "cannot be read as Parquet",
    ),
    read("a name with brackets", "r[1].csv", CSV, FOUND),
    read("a name with a star", "r*?.csv", CSV, FOUND),
]
