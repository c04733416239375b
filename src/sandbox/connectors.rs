//! The connector files that point Patchbay at a sandbox: the files of `connectors/`, with the sandbox's address in
//! place of `@BASE@`.

const FILES: [(&str, &str); 4] = [
    ("sandbox-ads.toml", include_str!("connectors/sandbox-ads.toml")),
    ("sandbox-analytics.toml", include_str!("connectors/sandbox-analytics.toml")),
    ("sandbox-billing.toml", include_str!("connectors/sandbox-billing.toml")),
    ("sandbox-shop.toml", include_str!("connectors/sandbox-shop.toml")),
];

/// File name and content of each.
pub(super) fn files(base_url: &str) -> Vec<(String, String)> {
    FILES.iter().map(|(name, text)| ((*name).to_owned(), text.replace("@BASE@", base_url))).collect()
}
