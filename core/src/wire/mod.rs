//! Frames and messages: Go's exact JSON, both ways.
