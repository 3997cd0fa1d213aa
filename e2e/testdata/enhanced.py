"""Makes the captures enhanced-*.flv: sound in the codecs of Enhanced RTMP v2, muxed by FFmpeg 8.

pip install av; python3 enhanced.py FOLDER. A click of 1 kHz for 10 ms at 0.25 s and every half second after that, and
silence between; grey pictures of 64x36, a keyframe each second.
"""

import array
import math
import sys
from fractions import Fraction

import av

SECONDS, RATE, FPS = 6, 48_000, 25
# Name, encoder, sample format, layout, bit/s.
SOUNDS = [
    ("opus", "libopus", "flt", "stereo", 24_000),
    ("flac", "flac", "s16", "mono", None),
    ("ac3", "ac3", "fltp", "stereo", 64_000),
    ("eac3", "eac3", "fltp", "stereo", 48_000),
    ("mp3", "libmp3lame", "fltp", "mono", 32_000),
]


def value(sample):
    time = sample / RATE
    return 0.7 * math.sin(2 * math.pi * 1000 * time) if (time + 0.25) % 0.5 < 0.01 else 0.0


def sound_frames(codec, form, layout):
    channels = len(av.AudioLayout(layout).channels)
    size = codec.frame_size or 1024
    for start in range(0, SECONDS * RATE, size):
        values = [value(sample) for sample in range(start, start + size)]
        frame = av.AudioFrame(format=form, layout=layout, samples=size)
        if form.endswith("p"):
            planes = [array.array("f", values)] * channels
        else:
            each = [v for v in values for _ in range(channels)]
            planes = [array.array("f", each) if form == "flt" else array.array("h", [round(v * 32_000) for v in each])]
        for plane, data in zip(frame.planes, planes):
            plane.update(data.tobytes().ljust(plane.buffer_size, b"\0"))
        frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
        yield frame


def make(folder, name, encoder, form, layout, bitrate):
    path = f"{folder}/enhanced-{name}.flv"
    with av.open(path, "w", format="flv") as file:
        video = file.add_stream("libx264", rate=FPS, options={"preset": "veryslow", "crf": "40", "bf": "0", "g": str(FPS)})
        video.width, video.height, video.pix_fmt = 64, 36, "yuv420p"
        audio = file.add_stream(encoder, rate=RATE)
        audio.codec_context.format, audio.codec_context.layout = form, layout
        if bitrate:
            audio.codec_context.bit_rate = bitrate
        audio.codec_context.open()
        sounds = sound_frames(audio.codec_context, form, layout)
        sound = next(sounds)
        for number in range(SECONDS * FPS):
            picture = av.VideoFrame(64, 36, "yuv420p")
            for plane, grey in zip(picture.planes, (16 + number, 128, 128)):
                plane.update(bytes([grey]) * plane.buffer_size)
            picture.pts, picture.time_base = number, Fraction(1, FPS)
            file.mux(video.encode(picture))
            while sound is not None and sound.pts / RATE <= number / FPS:
                file.mux(audio.encode(sound))
                sound = next(sounds, None)
        while sound is not None:
            file.mux(audio.encode(sound))
            sound = next(sounds, None)
        file.mux(video.encode(None))
        file.mux(audio.encode(None))
    print(path, av.library_versions["libavformat"])


for sound in SOUNDS:
    make(sys.argv[1], *sound)
