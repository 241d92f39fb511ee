# The static binary, with git (which it runs) and the certificates that a kubeconfig may need.
#
#   cargo build --release --target x86_64-unknown-linux-musl
#   docker build --build-arg BINARY=x86_64-unknown-linux-musl/release/ktor --file Dockerfile --tag ktor target
#   docker run --volume "$PWD:/work" --volume "$HOME/.kube/config:/kubeconfig:ro" ktor plan --kubeconfig /kubeconfig
#
# A mounted checkout belongs to whoever made it, so git has to be told to trust it: the mount itself and nothing below it,
# where a commit could have put the files of another repository.
FROM alpine:3.22
RUN apk add --no-cache ca-certificates git \
 && git config --system --add safe.directory /work
ARG BINARY=ktor
COPY --chmod=0755 ${BINARY} /usr/local/bin/ktor
USER 65534:65534
WORKDIR /work
ENTRYPOINT ["/usr/local/bin/ktor"]
