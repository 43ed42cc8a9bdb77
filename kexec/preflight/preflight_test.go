package preflight

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/kexec"
	"github.com/liveupdate/luod/kexec/image/imagetest"
	"github.com/liveupdate/luod/kexec/verdict"
)

const release = "7.3.4-test"

var (
	runningID = bytes.Repeat([]byte{1}, 20)
	targetID  = bytes.Repeat([]byte{2}, 20)
)

const config = "CONFIG_LIVEUPDATE=y\nCONFIG_KEXEC_HANDOVER=y\nCONFIG_LIVEUPDATE_MEMFD=y\nCONFIG_DEVTMPFS=y\nCONFIG_EXT4_FS=y\nCONFIG_RD_GZIP=y\nCONFIG_KEXEC_FILE=y\n"

// kernel makes a bzImage with all that the checks look for.
type kernel struct {
	release, inside, config string
	id                      []byte
	formats                 []string
}

func (k kernel) bytes() []byte {
	payload := fmt.Appendf(nil, "\x7fELF\x00Linux version %s (x) #1\n\x00%s\x00", k.inside, strings.Join(k.formats, "\x00"))
	payload = append(payload, "\x04\x00\x00\x00\x14\x00\x00\x00\x03\x00\x00\x00GNU\x00"...)
	payload = append(payload, k.id...)
	if k.config != "" {
		payload = slices.Concat(payload, []byte("IKCFG_ST"), gzipped([]byte(k.config)), []byte("IKCFG_ED"))
	}
	return imagetest.BzImage(k.release, 2047, gzipped(payload))
}

var gzipped = imagetest.Gzip

func archive(names ...string) []byte {
	var b bytes.Buffer
	for _, name := range append(names, "TRAILER!!!") {
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00", 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, len(name)+1, 0, name)
		b.Write(make([]byte, -b.Len()&3))
	}
	return b.Bytes()
}

// world is a machine and a target on which every check is ok.
type world struct {
	t       *testing.T
	root    string
	system  System
	target  kexec.Target
	options Options
	kernel  kernel
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, root: t.TempDir()}
	w.system = System{
		Root: w.root, Arch: "amd64", Release: "7.2.0-running", Successor: Service{Unit: "luod.service", Program: "/usr/lib/luod/luod"},
		DeviceNumber: func(path string) (uint64, error) {
			switch strings.TrimPrefix(path, w.root) {
			case "/dev/vda", "/dev/disk/by-uuid/abc":
				return unix.Mkdev(254, 0), nil
			case "/dev/vdb":
				return unix.Mkdev(254, 16), nil
			}
			return 0, os.ErrNotExist
		},
	}
	// The test's own /dev/null stands for the device.
	w.mkdir("dev")
	if err := os.Symlink("/dev/null", w.path("dev/liveupdate")); err != nil {
		t.Fatal(err)
	}
	w.write("proc/cmdline", "root=/dev/vda kho=on liveupdate=on")
	w.write("proc/self/status", "Name:\tx\nCapEff:\t000001ffffffffff\n")
	w.write("proc/self/mountinfo", "1 0 254:0 / / rw - ext4 /dev/vda rw\n")
	w.write("proc/meminfo", "MemTotal: 100 kB\nMemAvailable:  524288 kB\n")
	w.write("proc/sys/kernel/kexec_load_disabled", "0\n")
	w.write("proc/sys/kernel/kexec_load_limit_reboot", "-1\n")
	w.write("proc/config.gz", string(gzipped([]byte(config))))
	w.write("sys/kernel/notes", "note"+string(runningID))
	w.write("sys/kernel/debug/kho/out/scratch_len", "0x1000\n0x8000000\n")
	w.running("kho-v4", "luo-v5", "memfd-v2")
	w.write("usr/lib/systemd/system/luod.service", "[Unit]\n")
	w.write("usr/lib/luod/luod", "x")
	w.mkdir("etc/systemd/system/sysinit.target.wants")
	if err := os.Symlink("/usr/lib/systemd/system/luod.service", w.path("etc/systemd/system/sysinit.target.wants/luod.service")); err != nil {
		t.Fatal(err)
	}
	w.kernel = kernel{release, release, config, targetID, []string{"kho-v4", "luo-v5", "memfd-v2"}}
	w.target = kexec.Target{Kernel: w.path("boot/vmlinuz-" + release), CommandLine: "root=/dev/vda kho=on liveupdate=on"}
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.root, name) }

func (w *world) mkdir(name string) {
	if err := os.MkdirAll(w.path(name), 0o755); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) write(name, data string) {
	w.t.Helper()
	w.mkdir(filepath.Dir(name))
	if err := os.WriteFile(w.path(name), []byte(data), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) remove(name string) {
	if err := os.RemoveAll(w.path(name)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) run() Report {
	w.t.Helper()
	if _, err := os.Stat(w.target.Kernel); err != nil {
		w.write("boot/vmlinuz-"+release, string(w.kernel.bytes()))
	}
	report, sources := Run(w.system, w.target, w.options)
	if sources != nil {
		sources.Close()
	}
	return report
}

func (w *world) initrd(data []byte) {
	w.write("boot/initrd", string(data))
	w.target.Initrds = []string{w.path("boot/initrd")}
}

func TestAGoodTargetPassesEveryCheck(t *testing.T) {
	for name, set := range map[string]func(*world){
		"without an initrd": func(*world) {},
		"with one": func(w *world) {
			w.initrd(gzipped(archive("lib/modules/" + release + "/x")))
			w.mkdir("lib/modules/" + release)
		},
		"root by UUID": func(w *world) { w.target.CommandLine = "root=UUID=ABC kho=on liveupdate=on"; w.initrd(archive("init")) },
		"drivers built in": func(w *world) {
			modular(w)
			// pcieport is in neither list: it can't be a module.
			w.write("usr/lib/modules/"+release+"/modules.builtin", "kernel/fs/ext4/ext4.ko\nkernel/drivers/block/virtio_blk.ko\n")
			if err := os.Symlink("../../bus/pci/drivers/pcieport", w.path("sys/devices/pci/driver")); err != nil {
				w.t.Fatal(err)
			}
		},
		"as before": func(w *world) { w.options.Digest = w.run().Digest },
		"loaded and then forbidden": func(w *world) {
			w.options.Digest, w.options.Stamp = w.run().Digest, "of other files"
			w.write("proc/sys/kernel/kexec_load_disabled", "1\n")
		},
		"configuration beside it": func(w *world) {
			w.kernel.config = ""
			w.write("usr/lib/modules/"+release+"/config", config)
		},
		"the running kernel itself": func(w *world) { w.kernel.id = runningID; w.remove("boot/vmlinuz-7.2.0-running") },
		"the running kernel elsewhere": func(w *world) {
			if err := os.Rename(w.path("boot/vmlinuz-7.2.0-running"), w.path("boot/other")); err != nil {
				w.t.Fatal(err)
			}
			w.system.RunningImages = func() []string { return []string{"/nonexistent", w.path("boot/other")} }
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			set(w)
			report := w.run()
			if report.Release != release || len(report.Digest) != 64 {
				t.Errorf("release %q, digest %q", report.Release, report.Digest)
			}
			if len(report.Results) != len(verdict.Names()) {
				t.Fatalf("%d results of %d checks", len(report.Results), len(verdict.Names()))
			}
			for i, r := range report.Results {
				if r.Verdict != OK || r.Reason == "" || r.Remedy != "" || r.Name != verdict.Names()[i] {
					t.Errorf("%+v", r)
				}
			}
		})
	}
}

func TestEachCheckFailsForItsReason(t *testing.T) {
	for _, c := range []struct {
		name    string
		spoil   func(*world)
		verdict Verdict
		reason  string
	}{
		{"live-update-enabled", func(w *world) { w.remove("dev/liveupdate"); w.write("proc/cmdline", "root=/dev/vda kho=on") }, Fail, "has no liveupdate=on"},
		{"live-update-enabled", func(w *world) { w.remove("dev/liveupdate"); w.write("proc/cmdline", "liveupdate=off kho=on") }, Fail, "has liveupdate=off"},
		{"live-update-enabled", func(w *world) {
			w.remove("dev/liveupdate")
			w.write("proc/config.gz", string(gzipped([]byte("CONFIG_X=y"))))
		}, Fail, "CONFIG_LIVEUPDATE"},
		{"live-update-enabled", func(w *world) { w.remove("dev/liveupdate"); w.write("dev/liveupdate", "a file") }, Fail, "no /dev/liveupdate"},
		{"kexec-allowed", func(w *world) { w.write("proc/sys/kernel/kexec_load_disabled", "1\n") }, Fail, "kexec_load_disabled"},
		{"kexec-allowed", func(w *world) { w.write("proc/sys/kernel/kexec_load_limit_reboot", "0\n") }, Fail, "limit_reboot"},
		{"kexec-allowed", func(w *world) { w.write("proc/self/status", "CapEff:\t0000000000000000\n") }, Fail, "CAP_SYS_BOOT"},
		{"kexec-allowed", func(w *world) { w.remove("proc/self/status") }, Warn, "can't be read"},
		{"kexec-allowed", func(w *world) { w.write("proc/config.gz", string(gzipped([]byte("CONFIG_LIVEUPDATE=y")))) }, Fail, "CONFIG_KEXEC_FILE"},
		{"kernel-image", func(w *world) { w.target.Kernel = w.path("nothing/vmlinuz"); w.mkdir("nothing/vmlinuz") }, Fail, "is a directory"},
		{"kernel-image", func(w *world) { w.write("boot/vmlinuz-"+release, "") }, Fail, "is empty"},
		{"kernel-image", func(w *world) { b := w.kernel.bytes(); w.write("boot/vmlinuz-"+release, string(b[:len(b)-9])) }, Fail, "half written"},
		{"kernel-image", func(w *world) { w.system.Arch = "arm64" }, Fail, "kernel for amd64"},
		{"kernel-image", func(w *world) { w.kernel.inside = "6.1-other" }, Fail, "inside that it is 6.1-other"},
		{"kernel-config", func(w *world) { w.kernel.config = "CONFIG_LIVEUPDATE=y\nCONFIG_DEVTMPFS=y\n" }, Fail, "CONFIG_KEXEC_HANDOVER, CONFIG_LIVEUPDATE_MEMFD (embedded"},
		{"kernel-config", func(w *world) { w.kernel.config = "" }, Warn, "neither embedded"},
		{"kernel-config", func(w *world) { w.kernel.config = ""; w.write("boot/config-"+release, "CONFIG_DEVTMPFS=m\n") }, Fail, "CONFIG_DEVTMPFS (/boot/config"},
		{"handover-format", func(w *world) { w.kernel.formats = []string{"kho-v4", "luo-v6", "memfd-v2"} }, Fail, "writes luo-v5, and it reads kho-v4 luo-v6"},
		{"handover-format", func(w *world) { w.running("kho-v4", "luo-v5", "memfd-v2", "vfio-pci-v1") }, Fail, "vfio-pci-v1 (VFIO devices)"},
		{"handover-format", func(w *world) { w.running("kho-v4", "luo-v5", "memfd-v2;holes-v1") }, Fail, "writes memfd-v2;holes-v1"},
		{"handover-format", func(w *world) { w.running("kho-v4", "luo-v5", "memfd-v2", "tomorrow_luo_v3") }, Fail, "tomorrow_luo_v3, which nobody here knows"},
		{"handover-format", func(w *world) { w.running("kho-v4", "luo-v5", "memfd-v2", "memblock-v2") }, Warn, "regions of reserve_mem= begin empty"},
		{"handover-format", func(w *world) { w.kernel.formats = nil }, Fail, "no handover format"},
		{"handover-format", func(w *world) { w.remove("boot/vmlinuz-7.2.0-running") }, Warn, "unknown"},
		{"handover-format", func(w *world) { w.write("sys/kernel/notes", "of another build") }, Warn, "unknown"},
		{"handover-format", func(w *world) { w.remove("sys/kernel/notes") }, Warn, "build ID"},
		{"command-line", func(w *world) { w.target.CommandLine = "root=/dev/vda kho=on" }, Fail, "liveupdate=on"},
		{"command-line", func(w *world) { w.target.CommandLine += " kho=off" }, Fail, "kho=on"},
		{"command-line", func(w *world) { w.target.CommandLine += " x\ny" }, Fail, "newline"},
		{"command-line", func(w *world) { w.target.CommandLine += " x=\xff" }, Fail, "no UTF-8"},
		{"command-line", func(w *world) { w.target.CommandLine += strings.Repeat(" x", 1500) }, Fail, "at most 2016"},
		{"initrd", func(w *world) { w.initrd([]byte("this is no initrd at all")) }, Fail, "neither a cpio archive"},
		{"initrd", func(w *world) { w.initrd(append([]byte("\x28\xb5\x2f\xfd"), make([]byte, 100)...)) }, Fail, "zstd"},
		{"initrd", func(w *world) {
			w.kernel.config = strings.Replace(config, "CONFIG_RD_GZIP=y", "", 1)
			w.initrd(gzipped(archive("init")))
		}, Fail, "without CONFIG_RD_GZIP"},
		{"initrd", func(w *world) { w.kernel.config = strings.Replace(config, "CONFIG_EXT4_FS=y", "", 1) }, Fail, "needs what is not built into the kernel: ext4"},
		{"initrd", func(w *world) { modular(w); w.initrd(archive("init")) }, Fail, "no modules, and the root file system needs ext4"},
		{"initrd", func(w *world) { modular(w); w.initrd(archive("lib/modules/6.1/x")) }, Fail, "for 6.1 and not for"},
		{"initrd", func(w *world) { modular(w) }, Fail, "there is none"},
		{"initrd", func(w *world) {
			modular(w)
			w.write("usr/lib/modules/"+release+"/modules.builtin", "kernel/fs/ext4/ext4.ko\n")
			w.write("usr/lib/modules/"+release+"/modules.order", "kernel/drivers/block/virtio_blk.ko\n")
		}, Fail, "not built into the kernel: virtio_blk"},
		{"initrd", func(w *world) { w.kernel.config += "CONFIG_X=m\n" }, Warn, "unknown"},
		{"initrd", func(w *world) { w.kernel.config += "CONFIG_X=m\n"; w.initrd(archive("init")) }, Warn, "unknown"},
		{"modules", func(w *world) { w.kernel.config += "CONFIG_X=m\n" }, Fail, "is missing"},
		{"modules", func(w *world) { w.kernel.config = "" }, Warn, "unknown"},
		{"signature", func(w *world) { w.write("sys/kernel/security/lockdown", "none [integrity] confidentiality") }, Fail, "lockdown of the running kernel demands one, and it has none"},
		{"signature", func(w *world) {
			w.write("proc/config.gz", string(gzipped([]byte(config+"CONFIG_KEXEC_SIG_FORCE=y\n"))))
		}, Fail, "KEXEC_SIG_FORCE"},
		{"signature", func(w *world) { w.remove("proc/config.gz") }, Warn, "unknown"},
		{"memory", func(w *world) { w.write("proc/meminfo", "MemAvailable: 1024 kB\n") }, Fail, "1 MiB are free"},
		{"memory", func(w *world) { w.write("sys/kernel/debug/kho/out/scratch_len", "0x100000\n") }, Fail, "largest scratch area has 1 MiB"},
		{"memory", func(w *world) {
			w.remove("sys/kernel/debug/kho/out/scratch_len")
			w.write("sys/kernel/debug/kho/out/bootmem_len", "0x100000\n")
		}, Fail, "largest bootmem area has 1 MiB"},
		{"memory", func(w *world) { w.remove("sys/kernel/debug") }, Warn, "unknown"},
		{"memory", func(w *world) { w.remove("proc/meminfo") }, Warn, "unknown"},
		{"root-device", func(w *world) { w.target.CommandLine = "root=/dev/vdb kho=on liveupdate=on" }, Fail, "another file system"},
		{"root-device", func(w *world) { w.target.CommandLine = "root=/dev/nothing kho=on liveupdate=on" }, Fail, "is not there"},
		{"root-device", func(w *world) { w.target.CommandLine = "root=UUID=abc kho=on liveupdate=on" }, Fail, "can't find root=UUID=abc without an initrd"},
		{"root-device", func(w *world) { w.target.CommandLine = "kho=on liveupdate=on" }, Fail, "neither root= nor an initrd"},
		{"root-device", func(w *world) { w.target.CommandLine = "kho=on liveupdate=on"; w.initrd(archive("init")) }, Warn, "unknown"},
		{"root-device", func(w *world) { w.target.CommandLine = "root=ZFS=x kho=on liveupdate=on"; w.initrd(archive("init")) }, Warn, "unknown"},
		{"luod-after-jump", func(w *world) { w.remove("etc/systemd/system/sysinit.target.wants/luod.service") }, Fail, "not enabled"},
		{"luod-after-jump", func(w *world) { w.remove("usr/lib/systemd/system/luod.service") }, Fail, "not installed"},
		{"luod-after-jump", func(w *world) { w.remove("usr/lib/luod/luod") }, Fail, "can't be found"},
		{"luod-after-jump", func(w *world) {
			if err := os.Symlink("/dev/null", w.path("etc/systemd/system/luod.service")); err != nil {
				w.t.Fatal(err)
			}
		}, Fail, "masked"},
		{"unchanged", func(w *world) { w.options.Digest = strings.Repeat("0", 64) }, Fail, "no longer what was loaded"},
	} {
		t.Run(c.name+" "+c.reason, func(t *testing.T) {
			w := newWorld(t)
			c.spoil(w)
			report := w.run()
			i := slices.Index(verdict.Names(), c.name)
			if r := report.Results[i]; r.Verdict != c.verdict || !strings.Contains(r.Reason, c.reason) || r.Remedy == "" {
				t.Errorf("%+v, want %s and %q", r, c.verdict, c.reason)
			}
			refused := report.Refused(nil)
			if (c.verdict == Fail) != slices.ContainsFunc(refused, func(r Result) bool { return r.Name == c.name }) {
				t.Errorf("refused by %+v", refused)
			}
			if slices.ContainsFunc(report.Refused([]string{c.name}), func(r Result) bool { return r.Name == c.name }) {
				t.Error("it can't be overridden")
			}
		})
	}
}

// modular makes ext4 a module of the target.
func modular(w *world) {
	w.kernel.config += "CONFIG_X=m\n"
	w.write("usr/lib/modules/"+release+"/modules.builtin", "kernel/drivers/block/virtio_blk.ko\n")
	w.write("usr/lib/modules/"+release+"/modules.order", "kernel/fs/ext4/ext4.ko\nkernel/drivers/scsi/sd-mod.ko\n")
	w.mkdir("sys/devices/pci/virtio0/block/vda")
	w.mkdir("sys/bus/virtio/drivers/virtio_blk")
	w.mkdir("sys/dev/block")
	for link, to := range map[string]string{
		"sys/dev/block/254:0":            "../../devices/pci/virtio0/block/vda",
		"sys/devices/pci/virtio0/driver": "../../../bus/virtio/drivers/virtio_blk",
	} {
		if err := os.Symlink(to, w.path(link)); err != nil {
			w.t.Fatal(err)
		}
	}
}

// running writes the image of the running kernel, which speaks these formats.
func (w *world) running(formats ...string) {
	w.write("boot/vmlinuz-7.2.0-running", string(kernel{"7.2.0-running", "7.2.0-running", "", runningID, formats}.bytes()))
}

func TestAFutureFormatCanBeDeclaredReadable(t *testing.T) {
	defer func() { delete(readableBy, "luo-v5") }()
	writes, reads := []string{"kho-v4", "luo-v5"}, []string{"kho-v4", "luo-v6"}
	if r := compare(writes, reads); r.Verdict != Fail {
		t.Errorf("%+v", r)
	}
	readableBy["luo-v5"] = []string{"luo-v6"}
	if r := compare(writes, reads); r.Verdict != OK {
		t.Errorf("%+v", r)
	}
	if r := compare(nil, reads); r.Verdict != Fail {
		t.Errorf("%+v", r)
	}
}

func TestNamesOfChecks(t *testing.T) {
	if err := verdict.ValidNames([]string{"memory", "initrd"}); err != nil {
		t.Error(err)
	}
	if err := verdict.ValidNames([]string{"all"}); err == nil || !strings.Contains(err.Error(), "handover-format") {
		t.Errorf("got %v", err)
	}
}

// What the digest vouches for is taken from the earlier report, and nothing else is.
func TestWhatIsKnownOfTheSameFilesIsNotFoundOutAnew(t *testing.T) {
	w := newWorld(t)
	w.initrd(gzipped(archive("init")))
	first := w.run()
	for i := range first.Results {
		first.Results[i].Reason = "as before"
	}
	taken := func(r Report) []string {
		var names []string
		for _, c := range r.Results {
			if c.Reason == "as before" {
				names = append(names, c.Name)
			}
		}
		return names
	}
	w.options = Options{Digest: first.Digest, Known: first.Results}
	again := w.run()
	if got := taken(again); !slices.Equal(got, []string{"kernel-image", "kernel-config", "handover-format", "initrd", "modules"}) {
		t.Errorf("taken over: %q", got)
	}
	if again.Release != first.Release || again.Digest != first.Digest || len(again.Refused(nil)) != 0 {
		t.Errorf("%+v", again)
	}
	// Other files are looked into, and so is what was not in order.
	w.initrd(gzipped(archive("init", "more")))
	if got := taken(w.run()); got != nil {
		t.Errorf("of other files were taken over: %q", got)
	}
	w.initrd(gzipped(archive("init")))
	for i := range w.options.Known {
		w.options.Known[i].Verdict = Fail
	}
	if got := taken(w.run()); got != nil {
		t.Errorf("of what had failed were taken over: %q", got)
	}
	w.options.Digest = ""
	if got := taken(w.run()); got != nil {
		t.Errorf("without a digest were taken over: %q", got)
	}
}

func TestARunLeavesNoFileOpen(t *testing.T) {
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	w := newWorld(t)
	w.initrd(gzipped(archive("init")))
	w.run()
	before := count()
	w.run()
	w.target.Kernel = w.path("etc")
	w.run()
	w.target.Kernel = w.path("boot/vmlinuz-" + release)
	w.target.Initrds = append(w.target.Initrds, "/nonexistent")
	w.run()
	runtime.KeepAlive(w)
	if after := count(); after != before {
		t.Errorf("%d before, %d after", before, after)
	}
}
