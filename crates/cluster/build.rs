//! Makes Rust of `proto/`.

fn main() -> std::io::Result<()> {
    tonic_prost_build::configure().bytes(".").compile_protos(&["proto/headwater/log/v1/log.proto"], &["proto"])
}
