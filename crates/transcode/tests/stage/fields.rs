//! A source that codes each field by itself (PAFF), which no encoder at hand does: I_PCM macroblocks, written by hand.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use headwater_media::{AccessUnit, AvcConfig};

use super::clip::Clip;

/// Macroblocks in a row, and in a column of a field.
const WIDTH_MBS: u32 = 8;
const FIELD_MBS: u32 = 2;
/// Pixels that the bar moves from field to field.
const STEP: u32 = 6;

/// How a frame's two fields are sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Delivery {
    /// Both in one access unit, as files have it.
    Pairs,
    /// Each in a message of its own.
    Singly,
}

/// 128x64, 25 frames a second: a bar that moves from field to field.
pub(crate) fn clip(frames: u32, delivery: Delivery) -> Clip {
    let config = AvcConfig::from_parameter_sets(vec![sps()], vec![pps()]).unwrap();
    let mut units = Vec::new();
    for frame in 0..frames {
        let idr = frame % 50 == 0;
        let fields = [0, 1].map(|bottom| length_prefixed(&field(frame, bottom, idr)));
        let unit =
            |data: Bytes, idr, dts_millis| AccessUnit { data, idr, recovery: None, dts_millis, composition_millis: 0 };
        match delivery {
            Delivery::Pairs => units.push(unit(fields.concat().into(), idr, frame * 40)),
            Delivery::Singly => {
                let [first, second] = fields;
                units.push(unit(first, idr, frame * 40));
                units.push(unit(second, false, frame * 40 + 20));
            }
        }
    }
    Clip { config: Arc::new(config.into()), units, rate: 25.0 }
}

/// Main profile, level 2, output in decoding order, frames of two fields. H.264, 7.3.2.1.1.
fn sps() -> Bytes {
    let mut bits = Bits::default();
    bits.put(8, 77).put(8, 0).put(8, 20).ue(0);
    // log2_max_frame_num_minus4, pic_order_cnt_type, max_num_ref_frames, gaps.
    bits.ue(4).ue(2).ue(1).put(1, 0);
    bits.ue(WIDTH_MBS - 1).ue(FIELD_MBS - 1);
    // frame_mbs_only, mb_adaptive_frame_field, direct_8x8_inference, cropping, VUI.
    bits.put(1, 0).put(1, 0).put(1, 1).put(1, 0).put(1, 0);
    bits.finish(0x67)
}

/// 7.3.2.2.
fn pps() -> Bytes {
    let mut bits = Bits::default();
    // Ids, CAVLC, order of fields in the picture, one slice group, one reference each way.
    bits.ue(0).ue(0).put(1, 0).put(1, 0).ue(0).ue(0).ue(0);
    // No weights, QP and chroma offset as they are, no deblocking control, intra prediction, redundancy.
    bits.put(1, 0).put(2, 0).ue(0).ue(0).ue(0).put(1, 0).put(1, 0).put(1, 0);
    bits.finish(0x68)
}

/// One field as an I slice. 7.3.3.
fn field(frame: u32, bottom: u32, idr: bool) -> Bytes {
    // Of an IDR picture the first field is one and the second refers to it.
    let idr_field = idr && bottom == 0;
    let mut bits = Bits::default();
    bits.ue(0).ue(7).ue(0).put(8, frame % 50).put(1, 1).put(1, bottom);
    if idr_field {
        bits.ue(frame / 50 % 2).put(2, 0);
    } else {
        bits.put(1, 0);
    }
    bits.ue(0);
    let moved = (2 * frame + bottom) * STEP;
    for macroblock in 0..WIDTH_MBS * FIELD_MBS {
        // I_PCM.
        bits.ue(25).align();
        let left = macroblock % WIDTH_MBS * 16;
        for sample in 0..256 {
            let x = left + sample % 16 + 10_000 - moved;
            bits.put(8, if x % 80 < 40 { 235 } else { 16 });
        }
        (0..128).for_each(|_| {
            bits.put(8, 128);
        });
    }
    bits.finish(if idr_field { 0x65 } else { 0x61 })
}

fn length_prefixed(unit: &[u8]) -> Bytes {
    let mut out = BytesMut::from(&u32::try_from(unit.len()).unwrap().to_be_bytes()[..]);
    out.extend_from_slice(unit);
    out.freeze()
}

#[derive(Debug, Default)]
struct Bits {
    bytes: Vec<u8>,
    free: u32,
}

impl Bits {
    fn put(&mut self, count: u32, value: u32) -> &mut Self {
        for bit in (0..count).rev() {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            self.free -= 1;
            *self.bytes.last_mut().unwrap() |= u8::try_from(value >> bit & 1).unwrap() << self.free;
        }
        self
    }

    /// ue(v); for 0 also se(v). 9.1.
    fn ue(&mut self, value: u32) -> &mut Self {
        let length = (value + 1).ilog2();
        self.put(length, 0).put(length + 1, value + 1)
    }

    fn align(&mut self) {
        self.free = 0;
    }

    /// The NAL unit. Only parameter sets and slice headers have zeros, too few of them to need escaping.
    fn finish(mut self, header: u8) -> Bytes {
        self.put(1, 1);
        assert!(!self.bytes.windows(3).any(|bytes| bytes[..2] == [0, 0] && bytes[2] <= 3));
        [&[header], &self.bytes[..]].concat().into()
    }
}
