# Builds, tests and installs qgis-secrets on Debian 12. `make` alone lists what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# Cargo uses every core by itself; two cargo runs at once only wait for each other's lock.
.NOTPARALLEL:

CARGO ?= cargo
PREFIX ?= /usr/local

# .cargo/config.toml names the build's target, so what is built lies in a folder of that name.
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
BINARY = $(abspath $(or $(CARGO_TARGET_DIR),target))/$(HOST)/release/qgis-secrets

AS_ROOT := $(if $(filter-out 0,$(shell id -u)),sudo) env

# libc6-dev has the libc.a that a static binary is linked with; gcc only recommends it.
DEMO_PACKAGES := gcc libc6-dev make openssl pkg-config \
    qgis qgis-providers python3-qgis \
    postgresql-15 postgresql-15-postgis-3 libpq5
TEST_PACKAGES := $(DEMO_PACKAGES) chromium chromium-driver python3-venv
# What drives the browser and tries the API, apart from the system's own Python.
TEST_TOOLS = $(abspath $(or $(CARGO_TARGET_DIR),target))/test-tools
# tini is what the runner's own cost is compared with.
BENCH_PACKAGES := tini hyperfine
IMAGE_PACKAGES := buildah debootstrap

# $(call missing,PACKAGES): those that dpkg doesn't have as installed.
missing = $(filter-out $(shell dpkg-query --show --showformat='$${db:Status-Status} $${Package}\n' $(1) \
    2>/dev/null | sed -n 's/^installed //p'),$(1))

# $(call install,PACKAGES): asks apt only when one is missing, so that it takes no time and no
# network otherwise.
install = $(if $(call missing,$(1)),$(call apt_install,$(call missing,$(1))),:)

# Debian's PostgreSQL makes and starts a cluster when it is installed. The tests make private
# ones, so that is turned off for as long as apt runs, and no setting of ours stays behind.
define apt_install
echo 'Installing by apt: $(1)'; \
command -v apt-get >/dev/null || { echo 'There is no apt here: install the packages above by other means.' >&2; exit 1; }; \
$(AS_ROOT) DEBIAN_FRONTEND=noninteractive bash -euc ' \
    apt() { apt-get --quiet=2 -o DPkg::Lock::Timeout=300 "$$@"; }; \
    no_cluster=/etc/postgresql-common/createcluster.d/qgis-secrets.conf; \
    trap "rm -f $$no_cluster" EXIT; \
    mkdir -p "$${no_cluster%/*}"; \
    echo "create_main_cluster = false" >"$$no_cluster"; \
    apt update; \
    apt install --no-install-recommends $(1)'
endef

.PHONY: help
help: ## Lists these targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) \
	    | while IFS=$$'\t' read -r name text; do printf 'make %-13s %s\n' "$$name" "$$text"; done

.PHONY: demo-deps
demo-deps: ## Installs what the build and the demo need (QGIS, PostGIS, a C compiler)
	@$(call install,$(DEMO_PACKAGES))

.PHONY: deps
deps: ## Installs what the tests need besides: a browser, what drives it, and what tries the API
	@$(call install,$(TEST_PACKAGES))
	@digest=$$(sha256sum <tests/requirements.txt); \
	if [ "$$digest" != "$$(cat '$(TEST_TOOLS)/digest' 2>/dev/null)" ]; then \
	    echo 'Installing by pip: tests/requirements.txt'; \
	    /usr/bin/python3 -m venv --clear '$(TEST_TOOLS)'; \
	    '$(TEST_TOOLS)/bin/pip' install --quiet --disable-pip-version-check --no-deps \
	        -r tests/requirements.txt; \
	    echo "$$digest" >'$(TEST_TOOLS)/digest'; \
	fi

.PHONY: bench-deps
bench-deps: ## Installs what the benchmarks need besides
	@$(call install,$(BENCH_PACKAGES))

.PHONY: image-deps
image-deps: ## Installs what the test of the container image needs
	@$(call install,$(IMAGE_PACKAGES))

.PHONY: build
build: ## Builds the release binary
	$(CARGO) build --release --locked
	@echo 'Built $(BINARY)'

.PHONY: demo
demo: demo-deps build ## Shows a QGIS job getting its secrets, against a PostGIS of its own
	/usr/bin/python3 tests/demo/demo.py --binary '$(BINARY)' $(DEMO)

# What a shell starts in the background ignores interrupts, and so would all that the tests start.
ORDERLY := env --default-signal=INT,QUIT

# What answers soonest comes first. clippy and rustdoc share one check of the dependencies.
.PHONY: test
test: deps ## Checks format, lints and documentation, and runs all tests
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- -D warnings
	$(CARGO) clippy --no-default-features --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --no-deps --locked
	$(ORDERLY) $(CARGO) test --locked

.PHONY: screenshots
screenshots: deps build ## Takes the pictures of the page that the README shows
	'$(TEST_TOOLS)/bin/python' tests/browsing/screenshots.py --binary '$(BINARY)' --to docs/images

.PHONY: test-kill
test-kill: deps ## Kills runs at every system call, and looks for what remains
	QGIS_SECRETS_TEST_KILLS=1000 $(ORDERLY) $(CARGO) test --locked --test suite -- --nocapture killing:: --skip hostile::

.PHONY: test-api
test-api: deps ## Throws many requests made from the OpenAPI document at the service
	QGIS_SECRETS_TEST_EXAMPLES=100 $(CARGO) test --locked --test suite -- api::documented::

# The sysroot and Cargo's folder are looked up here: sudo changes PATH and HOME.
.PHONY: test-image
test-image: image-deps ## Builds the Dockerfile without a registry, and tests the image (root or sudo)
	$(AS_ROOT) RUST_SYSROOT="$$(rustc --print sysroot)" CARGO_HOME="$${CARGO_HOME:-$$HOME/.cargo}" \
	    IMAGE_CACHE='$(abspath $(IMAGE_CACHE))' tests/image/run

# libFuzzer and the compiler's coverage, which the stable compiler has as well; no address sanitizer,
# for there is no unsafe code in what is tried. The corpus stays below target/ and grows.
FUZZ_SECONDS ?= 60
FUZZ_TARGET = $(abspath $(or $(CARGO_TARGET_DIR),target))/fuzz
FUZZ_FLAGS := --cfg fuzzing -C passes=sancov-module -C codegen-units=1 \
    $(addprefix -C llvm-args=-sanitizer-coverage-,level=4 inline-8bit-counters pc-table trace-compares)

.PHONY: fuzz
fuzz: ## Throws bytes at what reads tokens, services and descriptors (needs g++; FUZZ_SECONDS each)
	RUSTFLAGS='$(FUZZ_FLAGS)' CARGO_TARGET_DIR='$(FUZZ_TARGET)' \
	    $(CARGO) build --release --locked --manifest-path tests/fuzz/Cargo.toml
	for target in token claims service job; do \
	    mkdir -p '$(FUZZ_TARGET)'/corpus/$$target; \
	    '$(FUZZ_TARGET)'/$(HOST)/release/$$target -max_total_time=$(FUZZ_SECONDS) -timeout=10 \
	        -rss_limit_mb=1024 -artifact_prefix='$(FUZZ_TARGET)'/$$target- \
	        '$(FUZZ_TARGET)'/corpus/$$target tests/fuzz/seeds/$$target; \
	done

.PHONY: deny
deny: ## Checks licences, sources and duplicates of the dependencies (needs cargo-deny)
	$(CARGO) deny check bans licenses sources

# For how long the service is under load while its memory is watched; what it promises is ten minutes.
BENCH_SECONDS ?= 60

.PHONY: bench
bench: deps bench-deps ## Measures (the service under load for BENCH_SECONDS)
	BENCH_SECONDS=$(BENCH_SECONDS) $(CARGO) bench --locked --bench runs

.PHONY: bench-service
bench-service: deps ## Measures the secrets service alone
	BENCH_SECONDS=$(BENCH_SECONDS) $(CARGO) bench --locked --bench runs -- service

.PHONY: fmt
fmt: ## Formats the code
	$(CARGO) fmt

.PHONY: install
install: ## Installs the program in PREFIX/bin (/usr/local/bin)
	$(CARGO) install --path . --locked --root '$(PREFIX)'

.PHONY: clean
clean: ## Removes what was built
	$(CARGO) clean
