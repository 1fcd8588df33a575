#!/usr/bin/env python3
"""random_pairs.py USERS ITEMS OUT: a folder with random pairs of each user, ten in train, one in valid, one in test."""
import array
import os
import random
import struct
import sys

n_users, n_items, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
os.makedirs(out)
draw = random.Random(1)
for name, each in (("train", 10), ("valid", 1), ("test", 1)):
    users, items = array.array("i"), array.array("i")
    for user in range(n_users):
        users.extend([user] * each)
        items.extend(draw.sample(range(n_items), each))
    header = "{'descr': '<i4', 'fortran_order': False, 'shape': (2, %d), }" % len(users)
    header += " " * ((64 - (10 + len(header) + 1) % 64) % 64) + "\n"
    with open(os.path.join(out, name + ".npy"), "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
        f.write((users + items).tobytes())
with open(os.path.join(out, "dataset.json"), "w") as f:
    f.write('{"n_users": %d, "n_items": %d}\n' % (n_users, n_items))
