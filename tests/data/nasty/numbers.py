"""Ratings and times: what is no number, dates of other forms, and units."""

from __future__ import annotations

import datetime

import polars as pl

from tests.data.nasty.case import Case, parquet, read, refuse

__all__ = ["NUMBERS"]

#: With the times 2, 1 and 0 of a's items x, y and z.
ORDER = "a:z a:y a:x b:x"
FIRST = 1_700_000_000_000_000_000


def timed(name: str, *times: object) -> Case:
    """A file of a's items x, y, z and b's x, whose times sort a's items backwards."""
    x, y, z, last = times
    return read(name, "x.csv", f"user,item,time\na,x,{x}\na,y,{y}\na,z,{z}\nb,x,{last}\n", ORDER)


def rated(name: str, value: str, message: str) -> Case:
    return refuse(name, "x.csv", f"user,item,rating\na,x,1\nb,y,{value}\n", message)


def dated(name: str, value: str, message: str) -> Case:
    return refuse(name, "x.csv", f"user,item,date\na,x,{value}\nb,y,2024-01-02\n", message)


def in_parquet(name: str, times: list[object], kind: object = None) -> Case:
    columns = {"user": ["a", "a", "a", "b"], "item": ["x", "y", "z", "x"], "time": times}
    return read(
        name, "x.parquet", parquet(columns, **({} if kind is None else {"time": kind})), ORDER
    )


DAYS = [datetime.datetime(2024, 1, day) for day in (4, 3, 2, 1)]  # without zones

NUMBERS = [
    timed("seconds", 9, 8, 7, 1),
    timed("seconds with fractions", 9.5, 9.25, 9, 1),
    timed("nanoseconds", FIRST + 2, FIRST + 1, FIRST, 1),
    timed("negative times", -1, -2, -3, -4),
    timed("dates", "2024-03-01", "2024-02-29", "2023-12-31", "2024-01-01"),
    timed("days as numbers", 20240301, 20240229, 20231231, 20240101),
    timed("times of day", *(f"2024-03-01 {t}" for t in ("10:00:01", "10:00:00", "09:59", "00:00"))),
    timed("fractions", *(f"2024-03-01T10:00:00.{f}" for f in ("000002", "000001", "000000", "9"))),
    timed("zones", *(f"2024-03-01T10:00:00{z}" for z in ("-01:00", "Z", "+01:00", "Z"))),
    timed("a mixture of ISO", "2024-03-01T00:00Z", "2024-02-01", "2024-01-01 10:00", "2024-01-01"),
    in_parquet("nanoseconds in Parquet", [FIRST + 2, FIRST + 1, FIRST, 1]),
    in_parquet("datetimes", [*DAYS], pl.Datetime("ns")),
    in_parquet("datetimes with a zone", [*DAYS], pl.Datetime("ms", "UTC")),
    in_parquet("dates in Parquet", [day.date() for day in DAYS]),
    in_parquet("floats", [4.5, 3.5, 2.5, 1.5]),
    in_parquet("dates as text", [f"2024-01-0{day}" for day in (4, 3, 2, 1)]),
    dated("the day first", "13/02/2024", "line 2: expected .* seems to be D/M/Y or M/D/Y"),
    dated("the month first", "02/03/2024", "seems to be D/M/Y or M/D/Y"),
    dated("two digits", "20-03-01", "seems to be YY-MM-DD or DD-MM-YY"),
    dated("dots", "13.02.2024", "seems to be D.M.Y"),
    dated("slashes from the year", "2024/03/01", "seems to be Y/M/D"),
    dated("dashes from the day", "01-03-2024", "seems to be D-M-Y or M-D-Y"),
    dated("no such day", "2024-02-30", "line 2: .* or no day of the calendar"),
    dated("no such hour", "2024-02-20 25:00:00", "line 2: expected a number, or a date"),
    dated("a month's name", "Mar 3 2024", "seems to be a date with the name of a month"),
    dated("an empty date", "", "line 2: expected a number, or a date"),
    refuse("a number among dates", "x.csv", "user,item,ts\na,x,2024-01-01\nb,y,5\n", "line 3"),
    refuse("a date among numbers", "x.csv", "user,item,ts\na,x,5\nb,y,2024-01-01\n", "line 3"),
    refuse(
        "spans",
        "x.parquet",
        parquet({"user": [1], "item": [1], "ts": [datetime.timedelta(1)]}),
        "Duration",
    ),
    rated("a word", "good", "line 3: expected a number, got 'good'"),
    rated("a percentage", "80%", "line 3: expected a number, got '80%'"),
    rated("NaN", "NaN", "line 3: expected a number, got 'NaN'"),
    rated("infinity", "inf", "line 3: expected a number, got 'inf'"),
    rated("beyond float32", "1e39", "line 3: expected a number, got '1e39'"),
    rated("a decimal comma", '"4,5"', "got '4,5'; write a decimal point"),
    rated("no rating", "", "line 3: expected a number, got None"),
    read(
        "spaces around ratings",
        "x.csv",
        "user,item,rating\na,x, 5\nb,y,4 \n",
        "a:x b:y",
        min_rating=4,
    ),
    refuse(
        "text as ratings",
        "x.parquet",
        parquet({"user": [1], "item": [1], "rating": [[1]]}),
        "not numbers",
    ),
]
