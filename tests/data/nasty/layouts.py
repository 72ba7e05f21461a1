"""Separators, headers, quotes, and lines that are too long or too short."""

from __future__ import annotations

from tests.data.nasty.case import read, refuse

__all__ = ["LAYOUTS"]

FOUND = "a:x a:y b:x"
BY_NUMBER = {"user": "1", "item": "2"}

LAYOUTS = [
    read("Windows lines", "x.csv", "user,item\r\na,x\r\na,y\r\nb,x\r\n", FOUND),
    read("old Macintosh lines", "x.csv", "user,item\ra,x\ra,y\rb,x\r", FOUND),
    read("no last line feed", "x.csv", "user,item\na,x\na,y\nb,x", FOUND),
    read("blank lines", "x.csv", "\n\nuser,item\na,x\n\na,y\n\nb,x\n\n", FOUND),
    read("spaces around names", "x.csv", " user , item \na,x\na,y\nb,x\n", FOUND),
    read("spaces around ids", "x.csv", "user,item\na, x\na ,y\nb, x\n", FOUND),
    read("names in capitals", "x.csv", "User_ID,ITEM\na,x\na,y\nb,x\n", FOUND),
    read("quotes", "x.csv", '"user","item"\n"a","x"\n"a","y"\n"b","x"\n', FOUND),
    read("a separator in quotes", "x.csv", 'user,item,note\na,x,"1,2"\na,y,\nb,x,c\n', FOUND),
    read("lines in quotes", "x.csv", 'user,item,note\na,x,"1\n2"\na,y,\nb,x,c\n', FOUND),
    read("doubled quotes", "x.csv", 'user,item\na,"6"" nail"\nb,x\n', 'a:6"_nail b:x'),
    refuse("tabs in a csv", "x.csv", "user\titem\na\tx\n", "separated by tabs: pass --format csv"),
    refuse("semicolons", "x.csv", "user;item\na;x\n", "separated by ';': pass .* --separator ';'"),
    refuse("commas in a tsv", "x.tsv", "user,item\na,x\n", "no tabs; .* separated by commas"),
    read("semicolons as told", "x.csv", "user;item\na;x\na;y\nb;x\n", FOUND, separator=";"),
    read("bars as told", "x.csv", "user|item\na|x\na|y\nb|x\n", FOUND, separator="|"),
    read(
        "MovieLens-1M",
        "ratings.dat",
        "1::10::5::97830\n1::11::3::97831\n2::10::4::97832\n",
        "1:10 1:11 2:10",
        separator="::",
        header=False,
        columns=BY_NUMBER | {"rating": "3", "timestamp": "4"},
    ),
    refuse("MovieLens-1M untold", "ratings.dat", "1::10::5::9\n", "--separator '::' --no-header"),
    refuse("colons as train.txt", "ratings.txt", "1::10::5::9\n", "--separator '::' --no-header"),
    refuse("colons, called train.txt", "r.txt", "1::10::5\n", "has '::'", format="train.txt"),
    refuse("tabs, called train.txt", "r.txt", "1\t10\t5\n", "has tabs", format="train.txt"),
    read("a header and tabs in a txt", "r.txt", "user\titem\na\tx\na\ty\nb\tx\n", FOUND),
    read("a header and commas in a txt", "r.txt", "user,item\na,x\na,y\nb,x\n", FOUND),
    refuse("tabs in a txt", "u.txt", "196\t242\t3\t881\n", r"--separator '\\t' --no-header"),
    refuse("a header and spaces", "r.txt", "user item\na x\n", "--format csv --separator ' '"),
    read(
        "MovieLens-100K",
        "u.data",
        "1\t10\t3\t881\n1\t11\t3\t882\n2\t10\t3\t883\n",
        "1:10 1:11 2:10",
        format="tsv",
        header=False,
        columns=BY_NUMBER,
    ),
    refuse("MovieLens-100K untold", "u.data", "1\t10\t3\t8\n", r"--separator '\\t' --no-header"),
    read("no header, as told", "x.csv", "a,x\na,y\nb,x\n", FOUND, header=False, columns=BY_NUMBER),
    refuse("no header", "x.csv", "1,10\n1,11\n2,10\n", "looks like data.*--no-header"),
    refuse("no header, by number", "x.csv", "1,10\n1,11\n", "--no-header", columns=BY_NUMBER),
    refuse("words without a header", "x.csv", "ann,fig\nbob,fig\n", "pass --no-header, too"),
    read(
        "a header of numbers", "x.csv", "1,2\na,x\nb,y\n", "a:x b:y", header=True, columns=BY_NUMBER
    ),
    refuse("no column 3", "x.csv", "a,x\n", "no column '3'", header=False, columns={"user": "3"}),
    refuse("a comment", "x.csv", "# from the shop\nuser,item\na,x\n", "starts with a comment"),
    refuse(
        "too many fields", "x.csv", "user,item\na,x\na,y,1\nb,x\n", "line 3 has 3 fields, the f"
    ),
    refuse(
        "too few fields", "x.csv", "user,item,rating\na,x,1\na,y\nb,x,1\n", "line 3 has 2 fields"
    ),
    refuse("commas at the end", "x.csv", "user,item\na,x,\nb,x,\n", "line 2 has 3 fields"),
    refuse(
        "a short line of other columns", "x.csv", "user,item,n\na,x\nb,x,1\n", "line 2 has 2 fi"
    ),
    read("an empty last field", "x.csv", "user,item,n\na,x,\na,y,\nb,x,1\n", FOUND),
    refuse(
        "a quote that is not closed", "x.csv", 'user,item\na,"x\nb,x\n', "line 2: a quote is not"
    ),
    refuse(
        "text after a quote", "x.csv", 'user,item\na,"x"y\nb,x\n', "line 2: a quote is not clos"
    ),
    refuse("a stray quote", "x.csv", 'user,item\na,x\na,x"y\nb,x\n', "line 3 has a stray quote"),
    refuse("a quote that closes later", "x.csv", 'user,item\na,"x\nb,y"\nc,z\n', "a line break"),
    refuse("quotes in a tsv", "x.tsv", 'user\titem\na\t"x"\nb\t"y"\n', "fields in quotes need"),
    read(
        "quotes in a tsv as told",
        "x.tsv",
        'user\titem\na\t"x"\nb\ty\n',
        "a:x b:y",
        format="csv",
        separator="\t",
    ),
    refuse(
        "two columns alike", "x.csv", "user,item,item\na,x,y\nb,x,y\n", "several columns: 'item', "
    ),
    refuse("alike but for case", "x.csv", "user,Item,item\na,x,y\nb,x,y\n", "'Item', 'item'"),
    refuse("two names of items", "x.csv", "user,item_id,asin\na,x,y\nb,x,y\n", "'item_id', 'asin'"),
    read(
        "two names, as told",
        "x.csv",
        "user,item_id,asin\na,p,x\nb,q,y\n",
        "a:x b:y",
        columns={"item": "asin"},
    ),
    refuse(
        "a separator for RecBole",
        "x.inter",
        "user:token\n",
        "it applies to csv and tsv",
        separator=",",
    ),
    read("train.txt", "train.txt", "a x y\nb x\nc\n", FOUND),
    read("train.txt with two spaces", "train.txt", "a  x y \nb x\n", FOUND),
    read("train.txt on Windows", "train.txt", "a x y\r\nb x\r\n", FOUND),
    read(
        "train.txt with odd spaces",
        "train.txt",
        "a x\u00a01 y\nb x\x0c\n",
        "a:x\u00a01 a:y b:x\x0c",
    ),
    refuse("train.txt without items", "train.txt", "a\nb\n", "no line has a user and an item"),
    read("RecBole", "x.inter", "user_id:token\titem_id:token\na\tx\na\ty\nb\tx\n", FOUND),
    refuse(
        "RecBole's sequences",
        "x.inter",
        "user_id:token\titem_id_list:token_seq\titem_id:token\na\tx y\tz\n",
        "'item_id_list:token_seq' has whole histories",
    ),
]
