# syntax=docker/dockerfile:1

FROM rust:1.95-bookworm AS builder
WORKDIR /build
COPY . .
# The caches keep a rebuild to what changed; the binary is copied out of the cached directory.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin keyledger \
    && cp target/release/keyledger /usr/local/bin/keyledger

FROM debian:bookworm-slim
# A fixed id, so that a mounted volume can be given to it.
RUN useradd --system --uid 10001 --home-dir /var/lib/keyledger --create-home keyledger
COPY --from=builder /usr/local/bin/keyledger /usr/local/bin/keyledger
USER keyledger
WORKDIR /var/lib/keyledger
EXPOSE 8080 8081
# SIGTERM reaches keyledger itself: no shell in between.
ENTRYPOINT ["keyledger"]
CMD ["serve"]
