"""Makes the captures he-aac-*.flv of what an encoder of HE-AAC wrote: frames, each behind its length in four bytes.

python3 he_aac.py FRAMES AUDIO_SPECIFIC_CONFIG DELAY_SAMPLES OUTPUT. Pictures are those of enhanced-opus.flv.
"""

import struct
import sys

frames, config, delay, output = open(sys.argv[1], "rb").read(), bytes.fromhex(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
FRAME, RATE = 2048, 48_000
shift = -(-delay * 1000 // RATE)


def tags(flv):
    at = 13
    while at < len(flv):
        length = int.from_bytes(flv[at + 1 : at + 4], "big")
        time = int.from_bytes(flv[at + 4 : at + 7], "big") | flv[at + 7] << 24
        yield flv[at], time, flv[at + 11 : at + 11 + length]
        at += length + 15


pictures = [tag for tag in tags(open("enhanced-opus.flv", "rb").read()) if tag[0] == 9]
begin = next(time for _, time, body in pictures if body[1] == 1)
all_tags = [(8, 0, b"\xaf\0" + config)] + [
    (9, 0 if body[1] == 0 else time - begin + shift, body) for _, time, body in pictures
]
at, number = 0, 0
while at < len(frames):
    (length,) = struct.unpack_from(">I", frames, at)
    time = round((number * FRAME - delay) * 1000 / RATE) + shift
    all_tags.append((8, max(time, 0), b"\xaf\1" + frames[at + 4 : at + 4 + length]))
    at, number = at + 4 + length, number + 1
with open(output, "wb") as file:
    file.write(b"FLV\1\5\0\0\0\x09\0\0\0\0")
    for kind, time, body in sorted(all_tags, key=lambda tag: tag[1]):
        head = bytes([kind]) + len(body).to_bytes(3, "big") + (time & 0xFFFFFF).to_bytes(3, "big") + bytes([time >> 24])
        file.write(head + b"\0\0\0" + body + struct.pack(">I", len(body) + 11))
