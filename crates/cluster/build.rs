//! Makes Rust of `proto/`.

fn main() -> std::io::Result<()> {
    let files = ["log", "uplink"].map(|name| format!("proto/headwater/log/v1/{name}.proto"));
    tonic_prost_build::configure().bytes(".").compile_protos(&files, &["proto".to_owned()])
}
