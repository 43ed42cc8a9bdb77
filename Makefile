# luod: see README.md

VERSION := $(shell sed -n '1s/.*(\(.*\)).*/\1/p' packaging/debian/changelog)
GO      ?= go
DESTDIR ?=
prefix  ?= /usr
unitdir ?= $(prefix)/lib/systemd/system
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.7.0

export CGO_ENABLED = 0
GOFLAGS_BUILD := -trimpath -ldflags '-s -w -X main.version=$(VERSION)'

.PHONY: help one all build install deb demo bench lab test test-fuzz test-unit test-systemd test-vm test-all lint fuzz clean

all: build

help:
	@echo "make build      all programs, into bin"
	@echo "make install    them, units, policies and manuals, below DESTDIR"
	@echo "make deb        the Debian package, into DIST (dist)"
	@echo "make demo       two live updates between two kernels in a virtual machine"
	@echo "make test       what has to pass before a change lands"
	@echo "make test-all   everything, fuzzing included"
	@echo "make one TEST=TestFast PKG=./vmtest   one test, whichever kind it is"
	@echo "make fuzz FUZZTIME=5m   every fuzz target"
	@echo "make bench      what luod costs, against the kernel, systemd and the bus"
	@echo "make lab        kernels and images for the tests in virtual machines"
	@echo "make lint, clean"

# One test, whichever kind it is.
one:
	@[ -n "$(TEST)" ] && [ -n "$(PKG)" ] || { echo "say which: make one TEST=TestFast PKG=./vmtest"; exit 1; }
	LUOD_TEST_ALL=1 $(GO) test -count=1 -v -timeout 30m -run '^$(TEST)$$' $(PKG)

# PROGRAMS go to /usr/lib/luod, and luoctl to /usr/bin.
PROGRAMS := luod luod/luod-bus luoctl/systemctl-shim hooks/luod-reissue hooks/luod-kexec hooks/luod-logind hooks/luod-jump \
	hooks/luod-hold hooks/luod-hooks hooks/luod-adopt

build:
	mkdir -p bin
	$(GO) build $(GOFLAGS_BUILD) -o bin/ ./luoctl $(addprefix ./,$(PROGRAMS))

install: build
	install -d $(DESTDIR)$(prefix)/lib/luod
	install -m 0755 -t $(DESTDIR)$(prefix)/lib/luod $(addprefix bin/,$(notdir $(PROGRAMS)))
	install -D -m 0755 bin/luoctl $(DESTDIR)$(prefix)/bin/luoctl
	install -D -m 0644 -t $(DESTDIR)$(unitdir) units/luod.service units/luod-bus.service units/live-update.target units/luod-live-update.service units/luod-jump.service units/luod-hold.service units/luod-restore.target units/luod-continue.service
	install -D -m 0644 units/systemd-kexec-luod.conf $(DESTDIR)$(unitdir)/systemd-kexec.service.d/50-luod.conf
	install -D -m 0644 packaging/luod.sysusers $(DESTDIR)$(prefix)/lib/sysusers.d/luod.conf
	install -D -m 0644 -t $(DESTDIR)$(prefix)/share/dbus-1/system.d packaging/org.luod.LiveUpdate1.conf
	install -D -m 0644 -t $(DESTDIR)$(prefix)/share/dbus-1/system-services packaging/org.luod.LiveUpdate1.service
	install -D -m 0644 -t $(DESTDIR)$(prefix)/share/polkit-1/actions packaging/org.luod.LiveUpdate1.policy
	install -D -m 0644 -t $(DESTDIR)$(prefix)/lib/luod packaging/luod.conf packaging/systemctl-completion.bash
	install -D -m 0644 -t $(DESTDIR)$(prefix)/lib/systemd/catalog packaging/luod.catalog
	install -d $(DESTDIR)/etc/luod/hooks.d $(DESTDIR)$(prefix)/lib/luod/hooks.d
	install -d $(DESTDIR)$(prefix)/share/bash-completion/completions $(DESTDIR)$(prefix)/share/zsh/vendor-completions $(DESTDIR)$(prefix)/share/fish/vendor_completions.d
	bin/luoctl completion bash > $(DESTDIR)$(prefix)/share/bash-completion/completions/luoctl
	bin/luoctl completion zsh > $(DESTDIR)$(prefix)/share/zsh/vendor-completions/_luoctl
	bin/luoctl completion fish > $(DESTDIR)$(prefix)/share/fish/vendor_completions.d/luoctl.fish
	install -D -m 0644 -t $(DESTDIR)$(prefix)/share/man/man8 packaging/man/luod.8 packaging/man/luod-bus.8 packaging/man/luod-reissue.8
	install -D -m 0644 -t $(DESTDIR)$(prefix)/share/man/man5 packaging/man/luod.conf.5
	install -D -m 0644 -t $(DESTDIR)$(prefix)/share/man/man1 packaging/man/luoctl.1

# The package is built in a copy, so that debian/ needs not lie at the top. DIST is
# where it goes.
DIST ?= dist
deb:
	rm -rf $(DIST)/build && mkdir -p $(DIST)/build/luod
	git ls-files -z --cached --others --exclude-standard | tar --null -T - --ignore-failed-read -cf - 2>/dev/null | tar -xf - -C $(DIST)/build/luod
	cp -r packaging/debian $(DIST)/build/luod/debian
	cd $(DIST)/build/luod && dpkg-buildpackage -us -uc -d --build=full >../log 2>&1 || { tail -n 40 ../log; exit 1; }
	mv $(DIST)/build/luod_* $(DIST)/
	rm -rf $(DIST)/build
	@ls $(DIST)/luod_*.deb

demo:
	$(GO) run ./vmtest/cmd/demo

bench:
	$(GO) run ./vmtest/cmd/bench

lab:
	$(GO) run ./vmtest/cmd/lab build

test: lint test-unit test-systemd test-vm

# A short look with every fuzz target; make fuzz is the long one, and make test
# goes through what they begin with.
test-fuzz:
	$(MAKE) --no-print-directory fuzz FUZZTIME=2s

test-unit:
	$(GO) test -short ./...
	CGO_ENABLED=1 $(GO) test -short -race ./luo/... ./kexec/... ./luod/... ./client/... ./hooks/... ./luoctl/... ./internal/...
	GOARCH=arm64 $(GO) build -o /dev/null ./luod
	GOARCH=arm64 $(GO) build -o /dev/null ./luod/luod-bus
	GOARCH=arm64 $(GO) vet ./luo/... ./kexec/... ./client/... ./luod/... ./luoctl/... ./hooks/... ./internal/...

# Real systemd without a virtual machine: needs root, and of the lab only its Debian trees.
test-systemd:
	$(GO) test -count=1 -timeout 15m -v -run '^Test' ./vmtest/systemdtest/...

# What runs in virtual machines; the rest of vmtest is above.
VM_TESTS = $$($(GO) list ./vmtest/... | grep -v /vmtest/systemdtest)

test-vm:
	$(GO) test -count=1 -timeout 80m -v -run '^Test' $(VM_TESTS)

# Real kernels of every compression, only to be read.
REAL_IMAGES = $(shell $(GO) mod download -json github.com/u-root/u-root@v0.16.0 | sed -n 's/.*"Dir": "\(.*\)",/\1/p')/pkg/boot/bzimage/testdata

test-all: lint test-unit test-fuzz test-systemd
	$(GO) test -count=1 -timeout 20m -run "^TestRandomStories" ./luod/internal/coordinator
	LUOD_TEST_IMAGES=$(REAL_IMAGES) $(GO) test -count=1 -v -run TestRealImages ./kexec/image
	LUOD_TEST_ALL=1 $(GO) test -count=1 -timeout 120m -v -run '^Test' $(VM_TESTS)

lint:
	@files=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$files" ]; then echo "gofmt would change: $$files"; exit 1; fi
	$(GO) mod tidy -diff
	$(GO) vet ./...
	$(GO) vet -tags luofake ./luod
	$(GO) run $(STATICCHECK) ./...

FUZZTIME ?= 5m
# Each as PACKAGE:TARGET.
FUZZ_TARGETS = $(GO) test -list '^Fuzz' ./... | awk '/^Fuzz/ { names[++n] = $$1 } /^ok/ { for (i = 1; i <= n; i++) print $$2 ":" names[i]; n = 0 }'
# Go's fuzzer may fail of its own time-out where the machine is busy; it has found nothing
# then, and looks once more.
fuzz:
	@set -e; targets=$$($(FUZZ_TARGETS)); [ -n "$$targets" ]; for t in $$targets; do \
		echo "$$t"; \
		look() { $(GO) test -run '^$$' -fuzz "^$${t#*:}\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x "$${t%:*}" 2>&1; }; \
		if said=$$(look); then echo "$$said"; else echo "$$said"; \
			case "$$said" in *"Failing input"*) exit 1;; *"context deadline exceeded"*) echo "$$t: once more"; look;; *) exit 1;; esac; fi; done

clean:
	rm -rf bin dist
