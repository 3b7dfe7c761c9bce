# The image carries one static binary. It serves
# - as an init container, which puts the binary on a volume of the worker's pod:
#     command: [cp, /usr/local/bin/qgis-secrets, /shared/]
# - as a source for an image of your own worker, whatever libc that has:
#     COPY --from=THIS_IMAGE /usr/local/bin/qgis-secrets /usr/local/bin/
# The base is Debian rather than nothing, because an init container needs cp.

ARG RUST_VERSION=1.95
ARG DEBIAN_VERSION=bookworm

FROM docker.io/library/rust:${RUST_VERSION}-${DEBIAN_VERSION} AS build
WORKDIR /build
# The dependencies have a layer of their own: a change in src/ doesn't compile them again.
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
RUN mkdir src \
    && echo 'fn main() {}' >src/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked \
    && rm -r src
# A source file keeps its time when it is copied. Without the touch, Cargo takes the empty program
# that was just built for newer than the real one.
COPY . .
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked \
    && install -D -t /out target/"$(rustc -vV | sed -n 's/^host: //p')"/release/qgis-secrets

FROM docker.io/library/debian:${DEBIAN_VERSION}-slim
LABEL org.opencontainers.image.title="qgis-secrets" \
      org.opencontainers.image.description="Gives a headless QGIS job its secrets, and takes them away again" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
# The folder is for what a service keeps: mount a volume there. It has no other place to write.
RUN groupadd --gid 10001 qgis-secrets \
    && useradd --uid 10001 --gid 10001 --no-log-init --no-create-home \
        --home-dir /var/lib/qgis-secrets --shell /usr/sbin/nologin qgis-secrets \
    && install -d -m 0700 -o 10001 -g 10001 /var/lib/qgis-secrets
# The authorities that HTTPS is checked against; the slim image has none.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/qgis-secrets /usr/local/bin/qgis-secrets
# A number, because Kubernetes' runAsNonRoot can't judge a name.
USER 10001:10001
ENTRYPOINT ["/usr/local/bin/qgis-secrets"]
