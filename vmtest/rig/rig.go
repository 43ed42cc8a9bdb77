package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/liveupdate/luod/vmtest/lab"
	"github.com/liveupdate/luod/vmtest/machine"
)

// Parts is what a machine is made of.
type Parts struct {
	Older, Newer lab.Kernel
	// Selftests says that the images have the kernels' own tests, lab.SelftestPath.
	Selftests bool
	deb       string
	guest     []lab.File
}

// guestPrograms are the Go programs of the lab that go into every image.
var guestPrograms = []string{"keeper", "poke", "luorules"}

var parts = sync.OnceValues(func() (*Parts, error) { return build(context.Background(), os.Stderr) })

// Get builds the kernels, the package and the guest programs, once in a process.
// It fails, saying what is missing, where the lab can't run.
func Get() (*Parts, error) { return parts() }

func build(ctx context.Context, progress io.Writer) (*Parts, error) {
	if err := lab.Need(ctx, progress); err != nil {
		return nil, err
	}
	p := new(Parts)
	var err error
	if p.Older, p.Newer, err = lab.Kernels(ctx, progress); err != nil {
		return nil, err
	}
	if p.deb, err = makeDeb(ctx, progress); err != nil {
		return nil, err
	}
	p.guest = serviceFiles()
	store, err := compileStore(ctx)
	if err != nil {
		return nil, err
	}
	p.guest = append(p.guest, store)
	for _, name := range guestPrograms {
		f, err := lab.GuestProgram(ctx, "github.com/liveupdate/luod/vmtest/guest/"+name)
		if err != nil {
			return nil, err
		}
		p.guest = append(p.guest, f)
	}
	// A kernel from LUOD_LAB_KERNELS comes without its source.
	for _, kernel := range []lab.Kernel{p.Older, p.Newer} {
		selftest, err := lab.Selftest(ctx, progress, kernel)
		if errors.Is(err, lab.ErrNoSource) {
			break
		}
		if err != nil {
			return nil, err
		}
		p.guest = append(p.guest, selftest)
		p.Selftests = true
	}
	return p, nil
}

// makeDeb builds luod's own package, which is the only way luod gets into an
// image.
func makeDeb(ctx context.Context, progress io.Writer) (string, error) {
	fmt.Fprintln(progress, "lab: building luod's package (15 s)")
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	top := filepath.Dir(strings.TrimSpace(string(mod)))
	cmd := exec.CommandContext(ctx, "make", "-C", top, "deb")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build luod's package: %w:\n%s", err, text)
	}
	debs, err := filepath.Glob(filepath.Join(top, "dist", "luod_*.deb"))
	if err != nil || len(debs) != 1 {
		return "", fmt.Errorf("build luod's package: found %q in dist", debs)
	}
	return debs[0], nil
}

// Rig is one machine with luod in it.
type Rig struct {
	*machine.Machine
	Parts *Parts
	Boot  machine.Boot
	// timeout bounds a boot.
	timeout time.Duration
	// initrds says that each kernel is booted with the one beside it.
	initrds bool
}

// Start boots suite on kernel and waits until it is up.
func (p *Parts) Start(ctx context.Context, suite lab.Suite, config machine.Config) (*Rig, error) {
	return p.start(ctx, p.spec(suite), config)
}

// StartWithBootEntries is Start with trixie's image that has boot entries, see
// [lab.Spec].
func (p *Parts) StartWithBootEntries(ctx context.Context, config machine.Config) (*Rig, error) {
	spec := p.spec(lab.Trixie)
	spec.BootEntries = true
	foreign, err := otherFormat(p.Newer)
	if err != nil {
		return nil, err
	}
	spec.Files = append(slices.Clip(spec.Files), foreign)
	return p.start(ctx, spec, config)
}

// StartWithDracut is Start with dracut's initrds: each boot passes through one, and
// each shutdown returns into it.
func (p *Parts) StartWithDracut(ctx context.Context, suite lab.Suite, config machine.Config) (*Rig, error) {
	spec := p.spec(suite)
	spec.Dracut = true
	return p.start(ctx, spec, config)
}

// StartOnOwnKernel is Start on the kernel that the suite itself comes with, which need not have heard of live updates, with
// these units enabled.
func (p *Parts) StartOnOwnKernel(ctx context.Context, suite lab.Suite, config machine.Config, files []lab.File, enable ...string) (*Rig, error) {
	spec := p.spec(suite)
	spec.OwnKernel, spec.Enable = true, enable
	spec.Files = append(slices.Clip(spec.Files), files...)
	return p.start(ctx, spec, config)
}

// StartWith is Start with more of Debian's packages.
func (p *Parts) StartWith(ctx context.Context, suite lab.Suite, config machine.Config, packages ...string) (*Rig, error) {
	spec := p.spec(suite)
	spec.Packages = packages
	return p.start(ctx, spec, config)
}

// StartWithPrograms is Start with more of this module's commands, by their packages,
// in /usr/lib/luod-lab.
func (p *Parts) StartWithPrograms(ctx context.Context, suite lab.Suite, config machine.Config, packages ...string) (*Rig, error) {
	spec := p.spec(suite)
	spec.Files = slices.Clip(spec.Files)
	for _, pkg := range packages {
		f, err := lab.GuestProgram(ctx, pkg)
		if err != nil {
			return nil, err
		}
		spec.Files = append(spec.Files, f)
	}
	return p.start(ctx, spec, config)
}

func (p *Parts) spec(suite lab.Suite) lab.Spec {
	return lab.Spec{Suite: suite, Debs: []string{p.deb}, Kernels: []lab.Kernel{p.Older, p.Newer}, Files: p.guest}
}

func (p *Parts) start(ctx context.Context, spec lab.Spec, config machine.Config) (*Rig, error) {
	image, err := lab.BuildImage(ctx, os.Stderr, spec)
	if err != nil {
		return nil, err
	}
	if spec.OwnKernel {
		config.Kernel = image.Own
	}
	config.Image, config.Initrd = image, image.Initrds[config.Kernel.Release]
	m, err := machine.Start(ctx, config)
	if err != nil {
		return nil, err
	}
	r := &Rig{Machine: m, Parts: p, timeout: bootTimeout, initrds: spec.Dracut}
	if config.VirtualTime {
		r.timeout *= 5
	}
	if err := r.waitBoot(ctx); err != nil {
		m.Close()
		return nil, err
	}
	return r, nil
}

// bootTimeout bounds a boot, and the way from an update's begin to the next
// kernel's agent. It takes 10 to 15 s on two cores.
const bootTimeout = 120 * time.Second

func (r *Rig) waitBoot(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	boot, err := r.WaitBoot(ctx)
	if err != nil {
		return fmt.Errorf("wait for the machine to boot: %w\n%s", err, r.ConsoleTail(60))
	}
	r.Boot = boot
	return nil
}

// Do runs script and returns its output; an exit code other than 0 is an error.
func (r *Rig) Do(ctx context.Context, script string) (string, error) {
	res, err := r.Run(ctx, script)
	if err != nil {
		return "", fmt.Errorf("run %q: %w\n%s", script, err, r.ConsoleTail(40))
	}
	if res.Code != 0 {
		return res.Stdout, fmt.Errorf("run %q: exit code %d: %s", script, res.Code, strings.TrimSpace(res.Stderr+res.Stdout))
	}
	return res.Stdout, nil
}

// Load loads a kernel that lies in the image's /boot.
func (r *Rig) Load(ctx context.Context, kernel lab.Kernel) error {
	command := "luoctl load /boot/vmlinuz-" + kernel.Release
	if r.initrds {
		command += " --initrd=/boot/initrd.img-" + kernel.Release
	}
	_, err := r.Do(ctx, command)
	return err
}

// Update loads kernel, performs the update and waits for the machine to be up
// again.
func (r *Rig) Update(ctx context.Context, kernel lab.Kernel) error {
	if err := r.Load(ctx, kernel); err != nil {
		return err
	}
	return r.Jump(ctx, kernel, "luoctl live-update")
}

// Jump runs a command that begins an update into kernel, and waits.
func (r *Rig) Jump(ctx context.Context, kernel lab.Kernel, command string) error {
	if _, err := r.Do(ctx, command); err != nil && !errors.Is(err, machine.ErrNextBoot) {
		return err
	}
	if err := r.waitBoot(ctx); err != nil {
		return err
	}
	if r.Boot.Kernel != kernel.Release {
		return fmt.Errorf("the machine booted %s and not %s", r.Boot.Kernel, kernel.Release)
	}
	return nil
}

// Fact is what a service says of one of its files.
type Fact struct {
	SHA256   string `json:"sha256"`
	Size     int64  `json:"size"`
	Seals    int    `json:"seals"`
	Position int64  `json:"position"`
	// Mode is the access mode of the descriptor, Access the file's st_mode, and UID and
	// GID are its owner.
	Mode   int    `json:"mode"`
	Access uint32 `json:"access"`
	UID    uint32 `json:"uid"`
	GID    uint32 `json:"gid"`
	// Expected says that it is byte for byte what this very service put in.
	Expected bool `json:"expected"`
}

// Report is what a service says of its memory after a start.
type Report struct {
	Unit     string          `json:"unit"`
	Fresh    bool            `json:"fresh"`
	Kernel   string          `json:"kernel"`
	Files    map[string]Fact `json:"files"`
	ReadUsec int64           `json:"readUsec"`
}

// Reports waits until n services have reported in this boot and returns all
// reports by unit.
func (r *Rig) Reports(ctx context.Context, n int) (map[string]Report, error) {
	script := fmt.Sprintf(`for i in $(seq 400); do [ $(ls /run/keeper/*.json 2>/dev/null | wc -l) -ge %d ] && break; sleep 0.1; done
for f in /run/keeper/*.json; do cat $f; echo; done`, n)
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	text, err := r.Do(ctx, script)
	if err != nil {
		return nil, err
	}
	reports := map[string]Report{}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		var report Report
		if err := json.Unmarshal([]byte(line), &report); err != nil {
			return nil, fmt.Errorf("read a service's report %q: %w", line, err)
		}
		reports[report.Unit] = report
	}
	if len(reports) != n {
		failed, _ := r.Do(ctx, "systemctl --failed --no-legend; journalctl -b -p warning --no-pager | tail -n 40")
		return reports, fmt.Errorf("%d services reported, not %d; failed units and warnings:\n%s", len(reports), n, failed)
	}
	return reports, nil
}

// Status is what luoctl status --json says, as far as tests look at it.
type Status struct {
	Phase           string   `json:"phase"`
	Generation      uint64   `json:"generation"`
	Kernel          string   `json:"kernel"`
	OldKernel       string   `json:"oldKernel"`
	Degraded        string   `json:"degraded"`
	Warning         string   `json:"warning"`
	Units           int      `json:"units"`
	FileDescriptors int      `json:"fileDescriptors"`
	Waiting         []string `json:"waiting"`
	LastError       string   `json:"lastError"`
	LeftBehind      []struct{ Unit, Reason string }
	LoadedKernel    string `json:"loadedKernel"`
	Lost            []struct{ Unit, Name, Reason string }
	TimeLine        []struct {
		Name string `json:"name"`
		Usec int64  `json:"usec"`
	} `json:"timeLine"`
}

// Status asks luod.
func (r *Rig) Status(ctx context.Context) (Status, error) {
	var s Status
	text, err := r.Do(ctx, "luoctl status --json")
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return s, fmt.Errorf("read luoctl's answer %q: %w", text, err)
	}
	return s, nil
}
