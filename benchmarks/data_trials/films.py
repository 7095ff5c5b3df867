"""Films of many codecs, containers, rates, rotations and colours, whole and damaged, beside ffmpeg's own decoding."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.data_trials.ffmpeg import X264, YUV, N, decoded, encode, packed_b_frames, run, with_cover
from benchmarks.data_trials.trial import Imported, Result, attempt, difference
from dlp_dyn.data.readers import Choices


@dataclass(frozen=True)
class Film:
    """A film to try. make: writes it. choices: of the import. truth: which of the
    frames that ffmpeg shows, where that is not each one once."""

    kind: str
    name: str
    make: Callable[[Path], None]
    choices: Choices | None = None
    truth: Sequence[int] | None = None

    def result(self, place: Path) -> Result:
        film = place / self.name
        self.make(film)
        return attempt(self.kind, self.name, film, self.choices, lambda found: self._judge(film, found))

    def _judge(self, film: Path, found: Imported) -> str:
        (frames,) = found.episodes
        expected = decoded(film)
        if self.truth is not None:
            expected = [expected[i] for i in self.truth]
        return difference(frames, expected)


def plain(kind: str, name: str, *options: str, size: tuple[int, int] = (64, 64), rate: int = 25) -> Film:
    return Film(kind, name, lambda out: encode(out, *options, size=size, rate=rate))


def remade(
    kind: str,
    name: str,
    before: tuple[str, ...],
    *after: str,
    first: tuple[str, ...] = X264,
    truth: Sequence[int] | None = None,
) -> Film:
    """A film that is copied once more, with options before and after its name."""

    def make(out: Path) -> None:
        source = out.with_name(f"source_{out.name}")
        encode(source, *first)
        run(*before, "-i", source, *after, out)
        source.unlink()

    return Film(kind, name, make, truth=truth)


def codecs() -> Iterator[Film]:
    def kind(name: str, *options: str) -> Film:
        return plain("codecs and containers", name, *options)

    for suffix in ("mp4", "mov", "mkv", "m4v", "flv", "ts", "3gp"):
        yield kind(f"h264.{suffix}", *X264)
    yield kind("h264.avi", *X264, "-bf", "0")
    yield kind("h264_b_frames.avi", *X264)
    yield kind("h264_b_pyramid.mp4", *X264, "-bf", "5", "-b_strategy", "0", "-x264opts", "b-pyramid=normal")
    yield kind("h264_open_gop.ts", *X264, "-g", "8", "-x264opts", "open-gop=1")
    yield kind("h264_interlaced.mp4", *X264, "-flags", "+ildct+ilme", "-x264opts", "tff=1")
    yield kind("h264_fragmented.mp4", *X264, "-movflags", "frag_keyframe+empty_moov", "-g", "6")
    yield kind("hevc.mp4", "-c:v", "libx265", "-crf", "6", *YUV, "-x265-params", "log-level=none")
    yield kind("hevc.mkv", "-c:v", "libx265", "-crf", "6", *YUV, "-x265-params", "log-level=none:bframes=4")
    yield kind("vp8.webm", "-c:v", "libvpx", "-b:v", "4M")
    yield kind(
        "vp8_hidden.webm", "-c:v", "libvpx", "-b:v", "2M", "-auto-alt-ref", "1", "-lag-in-frames", "12"
    )
    yield kind("vp8_alpha.webm", "-c:v", "libvpx", "-b:v", "4M", "-pix_fmt", "yuva420p", "-auto-alt-ref", "0")
    yield kind("vp9.webm", "-c:v", "libvpx-vp9", "-crf", "8", "-b:v", "0")
    yield kind(
        "vp9_hidden.webm", "-c:v", "libvpx-vp9", "-b:v", "2M", "-auto-alt-ref", "1", "-lag-in-frames", "16"
    )
    yield kind("vp9.mp4", "-c:v", "libvpx-vp9", "-crf", "8", "-b:v", "0")
    yield kind("av1.mkv", "-c:v", "libaom-av1", "-crf", "10", "-cpu-used", "8", *YUV)
    yield kind("av1.mp4", "-c:v", "libsvtav1", "-crf", "10", "-preset", "10", *YUV)
    yield kind("mjpeg.avi", "-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj420p")
    yield kind("mjpeg.mov", "-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj444p")
    yield kind("mpeg4.avi", "-c:v", "mpeg4", "-q:v", "2")
    yield kind("mpeg4_b_frames.mp4", "-c:v", "mpeg4", "-q:v", "2", "-bf", "2")
    yield kind("mpeg4_b_frames.avi", "-c:v", "mpeg4", "-q:v", "2", "-bf", "2")
    yield kind("xvid.avi", "-c:v", "libxvid", "-q:v", "2", "-bf", "2")
    yield Film("codecs and containers", "mpeg4_packed.avi", packed_b_frames)
    yield kind("mpeg1.mpg", "-c:v", "mpeg1video", "-q:v", "2")
    yield kind("mpeg2.mpg", "-c:v", "mpeg2video", "-q:v", "2", "-bf", "2")
    yield kind("mpeg2.ts", "-c:v", "mpeg2video", "-q:v", "2")
    yield kind("wmv2.wmv", "-c:v", "wmv2", "-q:v", "2")
    yield kind("msmpeg4.avi", "-c:v", "msmpeg4", "-q:v", "2")
    yield kind("flv1.flv", "-c:v", "flv", "-q:v", "2")
    yield kind("theora.ogv", "-c:v", "libtheora", "-q:v", "10")
    yield kind("prores.mov", "-c:v", "prores_ks", "-profile:v", "3")
    yield kind("dnxhr.mov", "-c:v", "dnxhd", "-profile:v", "dnxhr_hq", "-s", "256x128", "-pix_fmt", "yuv422p")
    yield kind("ffv1.mkv", "-c:v", "ffv1", "-pix_fmt", "bgr0")
    yield kind("huffyuv.avi", "-c:v", "huffyuv", "-pix_fmt", "yuv422p")
    yield kind("utvideo.avi", "-c:v", "utvideo", "-pix_fmt", "gbrp")
    yield kind("raw.avi", "-c:v", "rawvideo", "-pix_fmt", "bgr24")
    yield kind(
        "raw_palette.avi",
        "-c:v",
        "rawvideo",
        "-pix_fmt",
        "pal8",
        "-vf",
        "split[a][b];[a]palettegen[p];[b][p]paletteuse",
    )
    yield kind("qtrle.mov", "-c:v", "qtrle")
    yield kind("png.mov", "-c:v", "png")
    yield kind("animation.gif", "-filter_complex", "split[a][b];[a]palettegen[p];[b][p]paletteuse")
    yield kind("animation.webp", "-c:v", "libwebp_anim", "-lossless", "1")
    yield kind("animation.apng", "-c:v", "apng")


def depths() -> Iterator[Film]:
    kind = "10 and 12 bit, 4:2:2, 4:4:4, grey"
    h264, hevc = (
        ("-c:v", "libx264", "-crf", "6"),
        ("-c:v", "libx265", "-crf", "6", "-x265-params", "log-level=none"),
    )
    for pixels in ("yuv420p10le", "yuv422p", "yuv422p10le", "yuv444p", "yuv444p10le", "gray", "gray10le"):
        yield plain(kind, f"h264_{pixels}.mkv", *h264, "-pix_fmt", pixels)
    yield plain(kind, "h264_rgb.mkv", "-c:v", "libx264rgb", "-crf", "6")
    for pixels in ("yuv420p10le", "yuv444p12le", "gbrp"):
        yield plain(kind, f"hevc_{pixels}.mp4", *hevc, "-pix_fmt", pixels)
    yield plain(
        kind, "vp9_10.webm", "-c:v", "libvpx-vp9", "-crf", "8", "-b:v", "0", "-pix_fmt", "yuv420p10le"
    )
    yield plain(kind, "prores_4444.mov", "-c:v", "prores_ks", "-profile:v", "4", "-pix_fmt", "yuva444p10le")
    yield plain(kind, "ffv1_16.mkv", "-c:v", "ffv1", "-pix_fmt", "gray16le")
    yield plain(kind, "ffv1_rgb48.mkv", "-c:v", "ffv1", "-pix_fmt", "gbrp16le")


def sizes() -> Iterator[Film]:
    for width, height in ((63, 47), (65, 99), (17, 33), (130, 66), (1, 1)):
        yield plain(
            "odd sizes",
            f"vp9_{width}x{height}.webm",
            "-c:v",
            "libvpx-vp9",
            "-crf",
            "6",
            "-b:v",
            "0",
            size=(width, height),
        )
    yield plain(
        "odd sizes", "h264_63x47.mp4", "-c:v", "libx264", "-crf", "6", "-pix_fmt", "yuv444p", size=(63, 47)
    )
    yield plain("odd sizes", "mjpeg_65x33.avi", "-c:v", "mjpeg", "-q:v", "2", size=(65, 33))
    yield plain("odd sizes", "ffv1_33x35.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv420p", size=(33, 35))
    yield plain("odd sizes", "raw_61x35.avi", "-c:v", "rawvideo", "-pix_fmt", "bgr24", size=(61, 35))
    yield remade(
        "odd sizes", "cropped.mkv", (), "-c", "copy", "-bsf:v", "h264_metadata=crop_left=6:crop_top=10"
    )


def rotations() -> Iterator[Film]:
    kind = "rotated and mirrored"
    sizes = ("-c:v", "libx264", "-crf", "6", *YUV, "-s", "96x64")
    for name, options in {
        "90": ("-display_rotation", "90"),
        "180": ("-display_rotation", "180"),
        "270": ("-display_rotation", "270"),
        "mirrored": ("-display_hflip",),
        "upside_down": ("-display_vflip",),
        "90_mirrored": ("-display_rotation", "90", "-display_hflip"),
        "270_mirrored": ("-display_rotation", "270", "-display_hflip"),
        "90_vflip": ("-display_rotation", "90", "-display_vflip"),
        "minus_90": ("-display_rotation", "-90"),
        "45": ("-display_rotation", "45"),
    }.items():
        for suffix in ("mp4", "mkv") if name in ("90", "mirrored") else ("mov",):
            yield remade(kind, f"{name}.{suffix}", options, "-c", "copy", first=sizes)
    yield remade(
        kind,
        "hevc_270.mp4",
        ("-display_rotation", "270"),
        "-c",
        "copy",
        first=("-c:v", "libx265", "-crf", "6", *YUV, "-s", "96x64", "-x265-params", "log-level=none"),
    )


def rates() -> Iterator[Film]:
    kind = "rates, edit lists, late starts"
    jitter = "settb=1/90000,setpts='if(eq(N,0),0,PREV_OUTPTS+700+floor(random(3)*8000))'"
    phone = ("-vf", jitter, "-fps_mode", "passthrough", "-enc_time_base", "1:90000", *X264)
    for suffix in ("mp4", "mkv"):
        yield plain(kind, f"phone.{suffix}", *phone)
        yield Film(kind, f"phone_all.{suffix}", lambda out: encode(out, *phone), Choices(fps="all"))
    drops = ("-vf", "select='lt(n,10)+not(mod(n,3))'", "-fps_mode", "vfr", *X264)
    shown = [*range(9), 9, 9, 9, *[10] * 3, *[11] * 3, *[12] * 3, 13]
    yield Film(kind, "dropped.mp4", lambda out: encode(out, *drops), truth=shown)
    yield Film(kind, "dropped.mkv", lambda out: encode(out, *drops, rate=30), truth=shown)
    yield Film(kind, "dropped_all.mp4", lambda out: encode(out, *drops), Choices(fps="all"))
    yield Film(kind, "half.mp4", lambda out: encode(out, *X264), Choices(fps=12.5), range(0, N, 2))
    yield Film(
        kind,
        "double.mp4",
        lambda out: encode(out, *X264),
        Choices(fps=50),
        [i for i in range(N) for _ in "ab"],
    )
    for rate in (24, 60):
        yield plain(kind, f"rate_{rate}.mkv", *X264, rate=rate)
    yield plain(kind, "ntsc.mkv", "-r", "30000/1001", *X264, rate=30)
    yield plain(kind, "slow.avi", "-c:v", "mpeg4", "-q:v", "2", rate=1)
    yield remade(kind, "edited.mp4", ("-ss", "0.31"), "-c", "copy")
    yield remade(kind, "edited_end.mp4", (), "-c", "copy", "-t", "0.5", truth=[*range(13), 12, 13, 13, 14])
    yield remade(kind, "edited.mov", ("-ss", "0.5"), "-c", "copy", "-avoid_negative_ts", "disabled")
    yield remade(kind, "late.mp4", ("-itsoffset", "1.5"), "-c", "copy")
    yield remade(kind, "late.mkv", (), "-c", "copy", "-output_ts_offset", "5")
    yield remade(
        kind, "late.ts", (), "-c", "copy", "-muxdelay", "0", "-output_ts_offset", "95443"
    )  # wraps around
    sound = ("-f", "lavfi", "-i", "sine=d=2", "-shortest")
    yield plain(kind, "sound.mp4", *sound, *X264)
    yield plain(kind, "long_sound.mkv", "-f", "lavfi", "-i", "sine=d=4", *X264)
    sounding = (*sound, "-c:v", "mpeg4", "-q:v", "2")
    yield Film(kind, "sound.avi", lambda out: encode(out, *sounding), truth=[0, *range(N)])
    yield plain(kind, "sound_late.mp4", "-itsoffset", "0.7", "-f", "lavfi", "-i", "sine=d=1", *X264)
    yield Film(kind, "cover.mp4", with_cover)
    yield remade(
        kind,
        "joined.ts",
        ("-stream_loop", "1"),
        "-c",
        "copy",
        truth=[*range(24), 23, 24, 25, 25, *range(26, 46)],
    )
    yield remade(kind, "data.mov", (), "-c", "copy", "-timecode", "01:00:00:00")


def colours() -> Iterator[Film]:
    kind = "BT.601, BT.709, BT.2020, full and limited range"
    for matrix in ("smpte170m", "bt709", "bt470bg", "bt2020nc", "smpte240m", "fcc"):
        for full in ("tv", "pc"):
            convert = (
                f"scale=out_color_matrix={matrix}:out_range={full},setparams=colorspace={matrix}:range={full}"
            )
            yield plain(
                kind,
                f"h264_{matrix}_{full}.mp4",
                "-vf",
                convert,
                *X264,
                "-colorspace",
                matrix,
                "-color_range",
                full,
            )
    for codec, options, suffix in (
        ("hevc", ("-c:v", "libx265", "-crf", "6", *YUV, "-x265-params", "log-level=none"), "mkv"),
        ("vp9", ("-c:v", "libvpx-vp9", "-crf", "6", "-b:v", "0", *YUV), "webm"),
    ):
        for full in ("tv", "pc"):
            convert = f"scale=out_color_matrix=bt709:out_range={full},setparams=colorspace=bt709:range={full}"
            yield plain(
                kind,
                f"{codec}_bt709_{full}.{suffix}",
                "-vf",
                convert,
                *options,
                "-colorspace",
                "bt709",
                "-color_range",
                full,
            )
    yield plain(kind, "untagged_hd.mp4", *X264, size=(1280, 720))
    yield plain(kind, "yuvj.mkv", "-c:v", "libx264", "-crf", "6", "-pix_fmt", "yuvj420p")
    yield plain(
        kind,
        "hlg.mp4",
        "-c:v",
        "libx265",
        "-crf",
        "6",
        "-pix_fmt",
        "yuv420p10le",
        "-x265-params",
        "log-level=none",
        "-colorspace",
        "bt2020nc",
        "-color_trc",
        "arib-std-b67",
        "-color_primaries",
        "bt2020",
    )


WHOLE: tuple[Callable[[], Iterator[Film]], ...] = (codecs, depths, sizes, rotations, rates, colours)


def trials(place: Path) -> Iterator[Result]:
    for films in WHOLE:
        for film in films():
            yield film.result(place)
