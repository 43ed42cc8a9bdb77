# luod: see README.md

VERSION := $(shell sed -n '1s/.*(\(.*\)).*/\1/p' packaging/debian/changelog)
GO      ?= go
DESTDIR ?=
prefix  ?= /usr
unitdir ?= $(prefix)/lib/systemd/system
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.7.0

export CGO_ENABLED = 0
GOFLAGS_BUILD := -trimpath -ldflags '-s -w -X main.version=$(VERSION)'

.PHONY: all build install deb demo bench lab test test-fuzz test-unit test-systemd test-vm test-all race lint fuzz clean

all: build

build:
	mkdir -p bin
	$(GO) build $(GOFLAGS_BUILD) -o bin/luod ./luod
	$(GO) build $(GOFLAGS_BUILD) -o bin/luod-bus ./luod/luod-bus
	$(GO) build $(GOFLAGS_BUILD) -o bin/luoctl ./luoctl
	$(GO) build $(GOFLAGS_BUILD) -o bin/systemctl-shim ./luoctl/systemctl-shim
	$(GO) build $(GOFLAGS_BUILD) -o bin/luod-reissue ./hooks/luod-reissue
	$(GO) build $(GOFLAGS_BUILD) -o bin/luod-kexec ./hooks/luod-kexec
	$(GO) build $(GOFLAGS_BUILD) -o bin/luod-logind ./hooks/luod-logind
	$(GO) build $(GOFLAGS_BUILD) -o bin/luod-jump ./hooks/luod-jump
	$(GO) build $(GOFLAGS_BUILD) -o bin/luod-hold ./hooks/luod-hold
	$(GO) build $(GOFLAGS_BUILD) -o bin/luod-hooks ./hooks/luod-hooks
	$(GO) build $(GOFLAGS_BUILD) -o bin/luod-adopt ./hooks/luod-adopt

install: build
	install -D -m 0755 bin/luod $(DESTDIR)$(prefix)/lib/luod/luod
	install -D -m 0755 bin/luod-bus $(DESTDIR)$(prefix)/lib/luod/luod-bus
	install -D -m 0755 bin/luod-logind $(DESTDIR)$(prefix)/lib/luod/luod-logind
	install -D -m 0755 bin/luod-reissue $(DESTDIR)$(prefix)/lib/luod/luod-reissue
	install -D -m 0755 bin/luod-kexec $(DESTDIR)$(prefix)/lib/luod/luod-kexec
	install -D -m 0755 bin/luod-jump $(DESTDIR)$(prefix)/lib/luod/luod-jump
	install -D -m 0755 bin/luod-hold $(DESTDIR)$(prefix)/lib/luod/luod-hold
	install -D -m 0755 bin/luod-hooks $(DESTDIR)$(prefix)/lib/luod/luod-hooks
	install -D -m 0755 bin/luod-adopt $(DESTDIR)$(prefix)/lib/luod/luod-adopt
	install -D -m 0755 bin/systemctl-shim $(DESTDIR)$(prefix)/lib/luod/systemctl-shim
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
# Go's fuzzer may fail of its own time-out where the machine is busy; it has found nothing
# then, and looks once more.
fuzz:
	@set -e; for t in ./hooks/internal/treearchive:FuzzUnpack ./luod/internal/settings:FuzzRead ./internal/unitsection:FuzzParse ./internal/recipe:FuzzDecode ./luoctl:FuzzParseWhen ./internal/busconn:FuzzMessage ./internal/buslink:FuzzReceive ./luod/internal/manifest:FuzzDecode ./luod/internal/callers:FuzzUnitOfCgroup ./kexec:FuzzCommandLine \
		./kexec/image:FuzzRead ./kexec/image:FuzzScan ./kexec/initrd:FuzzRead ./kexec/compression:FuzzReader ./kexec/pe:FuzzSections \
		./kexec/uki:FuzzRead ./kexec/bootentry:FuzzType1 ./kexec/bootentry:FuzzUKI ./kexec/preflight:FuzzSigners; do \
		echo "$$t"; \
		look() { $(GO) test -run '^$$' -fuzz "^$${t#*:}\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x "$${t%:*}" 2>&1; }; \
		if said=$$(look); then echo "$$said"; else echo "$$said"; \
			case "$$said" in *"Failing input"*) exit 1;; *"context deadline exceeded"*) echo "$$t: once more"; look;; *) exit 1;; esac; fi; done

clean:
	rm -rf bin dist
