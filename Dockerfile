# syntax=docker/dockerfile:1

# The image that `manifests/` install: one binary on a base without a shell, as a user without rights.
#
#   docker build -t paceline --build-arg PACELINE_GIT_COMMIT=$(git rev-parse HEAD) .

FROM rust:1.95-bookworm AS build
WORKDIR /build
# All that Cargo.toml names; tests and benches are not built.
COPY Cargo.toml Cargo.lock ./
COPY src ./src
COPY config ./config
COPY tests/it ./tests/it
COPY benches ./benches
# What `paceline version` says; it may be left out.
ARG PACELINE_GIT_COMMIT
# librdkafka and zlib (for the demo) are compiled in, so that the binary needs the C library only. The caches are the
# build machine's: a second build compiles only what has changed.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --locked --profile dist --bin paceline \
    && cp target/dist/paceline /paceline

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /paceline /usr/local/bin/paceline
# nonroot, by its number, so that the kubelet can tell that it is not root.
USER 65532:65532
# One heap for all threads of glibc's: with one for each, memory that one thread has freed is of no use to another. With thousands
# of ScaledConsumers that takes a tenth more.
ENV MALLOC_ARENA_MAX=1
# Probes and metrics.
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/paceline"]
CMD ["run"]
