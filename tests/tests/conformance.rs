//! Compares this implementation with every golden vector of the Go implementation.
//!
//! Runs every `.json` file of the directory named by `SKYDHT_VECTORS` (relative to the repository),
//! by default `tests/vectors`. Intended differences are listed case by case in
//! `tests/vectors/differences.toml`; vectors that no code covers yet are in
//! `tests/vectors/pending.toml`. Both files are always read from the repository. Unknown sections,
//! unlisted differences, and listed differences that do not occur are failures.

#[path = "conformance/differences.rs"]
mod differences;
#[path = "conformance/disc_entry.rs"]
mod disc_entry;
#[path = "conformance/disc_http.rs"]
mod disc_http;
#[path = "conformance/distance.rs"]
mod distance;
#[path = "conformance/files.rs"]
mod files;
#[path = "conformance/frames_codec.rs"]
mod frames_codec;
#[path = "conformance/frames_handler.rs"]
mod frames_handler;
#[path = "conformance/gob.rs"]
mod gob;
#[path = "conformance/hex.rs"]
mod hex;
#[path = "conformance/items.rs"]
mod items;
#[path = "conformance/keys.rs"]
mod keys;
#[path = "conformance/noise.rs"]
mod noise;
#[path = "conformance/pending.rs"]
mod pending;
#[path = "conformance/pq_noise.rs"]
mod pq_noise;
#[path = "conformance/report.rs"]
mod report;
#[path = "conformance/signatures.rs"]
mod signatures;
#[path = "conformance/store_trace.rs"]
mod store_trace;
#[path = "conformance/tp_svc.rs"]
mod tp_svc;

use files::Runner;

/// The code that checks each file. The sections of a file may be split among several runners.
const RUNNERS: &[Runner] = &[
    Runner {
        file: "keys.json",
        sections: &[
            "keys",
            "ecdh",
            "secret_key_checks",
            "public_key_checks",
            "ecdh_checks",
            "text_decoding",
        ],
        run: keys::run,
    },
    Runner {
        file: "frames.json",
        sections: &["keys", "max_frame_length", "frames", "decoding"],
        run: frames_codec::run,
    },
    Runner {
        file: "signatures.json",
        sections: &["signing_is_deterministic", "self_check", "cases"],
        run: signatures::run,
    },
    Runner {
        file: "items.json",
        sections: &["items", "max_value_size", "max_salt_size"],
        run: items::run,
    },
    Runner {
        file: "frames.json",
        sections: &["handler"],
        run: frames_handler::run,
    },
    Runner {
        file: "distance.json",
        sections: &[
            "k",
            "pairs",
            "self_pk",
            "self_id",
            "self_bucket_index",
            "peers",
            "table_size",
            "targets",
        ],
        run: distance::run,
    },
    Runner {
        file: "store_trace.json",
        sections: &["traces"],
        run: store_trace::run,
    },
    Runner {
        file: "noise.json",
        sections: &[
            "handshakes",
            "raw_frame_limits",
            "read_writer_split",
            "dh_name",
            "dh_len",
            "scipher_ecdh_note",
            "max_frame_size",
            "max_payload_size",
            "max_prefix_value",
        ],
        run: noise::run,
    },
    Runner {
        file: "pq_noise.json",
        sections: &[
            "handshakes",
            "require_pq",
            "nonce_window",
            "nonce_window_and_tag",
            "kem",
            "dh_name",
            "dh_len",
        ],
        run: pq_noise::run,
    },
    Runner {
        file: "gob.json",
        sections: &["note", "request_first", "response_first"],
        run: gob::run,
    },
    Runner {
        file: "dmsg_2026.json",
        sections: &[
            "stream_requests",
            "stream_responses",
            "new_reader_reads_old_request",
        ],
        run: gob::run_2026,
    },
    Runner {
        file: "dmsg_2026.json",
        sections: &["disc_entries"],
        run: disc_entry::run_2026,
    },
    Runner {
        file: "disc_entry.json",
        sections: &[
            "keys",
            "entries",
            "signature_checks",
            "validate",
            "iteration",
        ],
        run: disc_entry::run,
    },
    Runner {
        file: "disc_entry.json",
        sections: &["client_http", "discovery_http"],
        run: disc_http::run,
    },
    Runner {
        file: "tp_svc.json",
        sections: &[
            "transport_entries",
            "signed_entries",
            "services",
            "service_decoding",
        ],
        run: tp_svc::run,
    },
];

/// Defines one test per file, so that files run concurrently and fail separately.
macro_rules! vector_files {
    ($($test:ident: $file:literal,)*) => {
        $(#[test] fn $test() { files::check($file, RUNNERS); })*

        #[test]
        fn nothing_is_unknown() {
            files::check_directory(&[$($file),*], RUNNERS);
        }
    };
}

vector_files! {
    disc_entry: "disc_entry.json",
    distance: "distance.json",
    dmsg_2026: "dmsg_2026.json",
    frames: "frames.json",
    gob: "gob.json",
    items: "items.json",
    keys: "keys.json",
    noise: "noise.json",
    pq_noise: "pq_noise.json",
    signatures: "signatures.json",
    store_trace: "store_trace.json",
    tp_svc: "tp_svc.json",
}
