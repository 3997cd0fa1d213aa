//! How much of the source is left in a rendition, by FFmpeg's own filters.

use std::path::Path;

use headwater_media::FrameRate;
use headwater_router::Gear;

use crate::BenchError;
use crate::ffmpeg::output;

/// What a rendition is like.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Quality {
    /// Rate of its access units.
    pub(crate) kbps: f64,
    /// Luma against the source, scaled to the same size with a Lanczos filter, in dB.
    pub(crate) psnr_db: f64,
    /// Structural similarity of the same, in dB: -10 log10(1 - SSIM).
    pub(crate) ssim_db: f64,
}

/// Measures `media`, which was made of `clip`.
pub(crate) fn measure(
    clip: &Path,
    media: &Path,
    gear: &Gear,
    rate: FrameRate,
    seconds: f64,
) -> Result<Quality, BenchError> {
    let (width, height) = (gear.width, gear.height);
    let step = if gear.frame_rate(rate) == rate { "" } else { "framestep=2," };
    let filters = format!(
        "[0:v]settb=1/1000,setpts=N,split[a][b];\
         [1:v]{step}scale={width}:{height}:flags=lanczos+accurate_rnd,settb=1/1000,setpts=N,split[c][d];\
         [a][c]psnr=shortest=1[x];[b][d]ssim=shortest=1[y]"
    );
    let (media_name, clip_name) = (media.display().to_string(), clip.display().to_string());
    let arguments = ["-nostdin", "-hide_banner", "-i", &media_name, "-i", &clip_name, "-filter_complex", &filters]
        .into_iter()
        .chain(["-map", "[x]", "-map", "[y]", "-f", "null", "-"])
        .map(str::to_owned);
    let said = output(Path::new("ffmpeg"), &arguments.collect::<Vec<_>>())?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let found = |prefix: &str, what: &'static str| {
        number_behind(&said, prefix).ok_or(BenchError::Output { program: "ffmpeg".to_owned(), what })
    };
    let psnr_db = found("PSNR y:", "a PSNR")?;
    let ssim = found("SSIM Y:", "an SSIM")?;
    Ok(Quality { kbps: kbps(media, seconds)?, psnr_db, ssim_db: -10.0 * (1.0 - ssim).max(1e-9).log10() })
}

/// Rate of a file's packets.
fn kbps(media: &Path, seconds: f64) -> Result<f64, BenchError> {
    let arguments = ["-v", "error", "-show_entries", "packet=size", "-of", "csv=p=0", &media.display().to_string()];
    let said = output(Path::new("ffprobe"), &arguments.map(str::to_owned))?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let bytes: f64 = said.lines().filter_map(|line| line.trim_end_matches(',').parse::<f64>().ok()).sum();
    Ok(bytes * 8.0 / 1000.0 / seconds)
}

/// The number directly behind the last `prefix` in `text`.
fn number_behind(text: &str, prefix: &str) -> Option<f64> {
    let (_, rest) = text.rsplit_once(prefix)?;
    rest.split(|c: char| !c.is_ascii_digit() && c != '.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_in_what_ffmpeg_says() {
        let said = "[Parsed_ssim_5 @ 0x1] SSIM Y:0.985868 (18.498081) U:0.9 (3) All:0.98\n\
                    [Parsed_psnr_4 @ 0x2] PSNR y:43.756213 u:46.1 average:44.4\n";
        assert_eq!(number_behind(said, "SSIM Y:"), Some(0.985_868));
        assert_eq!(number_behind(said, "PSNR y:"), Some(43.756_213));
        assert_eq!(number_behind(said, "VMAF "), None);
    }
}
