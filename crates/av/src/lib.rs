//! libav* behind safe types: decoder, scaler, encoder. The only unsafe code.
