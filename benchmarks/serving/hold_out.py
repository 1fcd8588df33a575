#!/usr/bin/env python3
"""hold_out.py users|items SOURCE OUT: a copy of a data set's folder in which every tenth user, or item, is new.

users: OUT has the pairs of the other users, OUT-new all of them, so that
       `rearm evaluate MODEL OUT-new --of new-users` represents the held-out users by their items.
items: train.npy and valid.npy keep the pairs of the other items; test.npy has all pairs of the held-out ones.
Arrays must be int32 or int64, (2, N), in C order. Features and names are linked.
"""
import array
import ast
import os
import struct
import sys


def read(path):
    with open(path, "rb") as f:
        bytes_ = f.read()
    length = struct.unpack_from("<H", bytes_, 8)[0]
    header = ast.literal_eval(bytes_[10 : 10 + length].decode())
    numbers = array.array({"<i4": "i", "<i8": "q"}[header["descr"]], bytes_[10 + length :])
    n = header["shape"][1]
    return list(zip(numbers[:n], numbers[n:]))


def write(path, pairs):
    header = "{'descr': '<i8', 'fortran_order': False, 'shape': (2, %d), }" % len(pairs)
    header += " " * ((64 - (10 + len(header) + 1) % 64) % 64) + "\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
        f.write(array.array("q", [u for u, _ in pairs] + [i for _, i in pairs]).tobytes())


def folder(source, out, splits):
    os.makedirs(out)
    for name in os.listdir(source):
        if name.endswith(("_feat.npy", ".tsv", ".json")):
            os.symlink(os.path.abspath(os.path.join(source, name)), os.path.join(out, name))
    for name, pairs in splits.items():
        write(os.path.join(out, name + ".npy"), pairs)


what, source, out = sys.argv[1:]
all_ = {name: read(os.path.join(source, name + ".npy")) for name in ("train", "valid", "test")}
if what == "users":
    old = {name: [p for p in pairs if p[0] % 10 != 0] for name, pairs in all_.items()}
    folder(source, out, old)
    folder(source, out + "-new", all_)
else:
    old = {name: [p for p in pairs if p[1] % 10 != 0] for name, pairs in all_.items()}
    new = [p for name in all_ for p in all_[name] if p[1] % 10 == 0]
    folder(source, out, {"train": old["train"], "valid": old["valid"], "test": new})
