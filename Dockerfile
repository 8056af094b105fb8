# One image for every process: `docker run callstream gateway`, `... tasks`, `... callbacks`.
ARG BASE=python:3.12-slim

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends binutils >/dev/null
WORKDIR /src
# Without pip in it: the virtual environment is all that the last stage takes.
RUN python3 -m venv --without-pip /opt/callstream
COPY requirements.lock ./
RUN pip --python /opt/callstream install --quiet --require-hashes -r requirements.lock
COPY . ./
# Then what built the wheel goes, and what serves `make up` alone.
RUN pip --python /opt/callstream install --quiet --no-deps --no-build-isolation . \
 && pip --python /opt/callstream uninstall --quiet --yes editables hatchling honcho pathspec pluggy trove-classifiers \
 # Wheels bring debug symbols along, a third of it all.
 && find /opt/callstream -name '*.so' -exec strip --strip-unneeded {} +

FROM ${BASE}
RUN groupadd --gid 10001 callstream && useradd --uid 10001 --gid callstream --no-create-home --home-dir /tmp callstream
COPY --from=build /opt/callstream /opt/callstream
# The root may be read-only: everything is compiled, and nothing is written but to /tmp.
ENV PATH=/opt/callstream/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /tmp
USER 10001:10001
EXPOSE 8000 8001 8080
ENTRYPOINT ["callstream"]
CMD ["--help"]
# Last, for they change with every commit.
ARG VERSION=0.0.0 REVISION=unknown
LABEL org.opencontainers.image.title="Callstream" \
      org.opencontainers.image.description="REST in, Kafka through, callback out: accepted means kept." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
