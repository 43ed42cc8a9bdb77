package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/liveupdate/luod/kexec/compression"
	"github.com/liveupdate/luod/kexec/image/imagetest"
)

func read(data []byte) (*Image, error) { return Read(bytes.NewReader(data), int64(len(data))) }

func bzImage(release string, payload []byte) []byte { return imagetest.BzImage(release, 2047, payload) }

var gzipped = imagetest.Gzip

var id = bytes.Repeat([]byte{7}, 20)

// kernel is an unpacked one with all that is looked for, far apart.
func kernel() []byte {
	gap := make([]byte, scanChunk-5) // so that something lies on each border
	return slices.Concat([]byte("\x7fELF"), gap, []byte("\x00kho-v4\x00compatible\x00"), gap, []byte("\xff\xffmemfd-v2\x00"),
		[]byte("\x00Linux version %s (%s)\x00Linux version 7.3.4-test (me@here) (gcc) #1 SMP\n\x00"),
		gap, buildID, id, configStart, gzipped([]byte("CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=m\n")), configEnd,
		gap, []byte("\x00luo-v5\x00not-kho-v3\x00kho-version\x00kho-v\x00qcom,msm-iommu-v1\x00luo_v\x00"), gap)
}

func TestABzImageIsRead(t *testing.T) {
	i, err := read(bzImage("7.3.4-test", gzipped(kernel())))
	if err != nil || i.Arch != "amd64" || i.Version != "7.3.4-test" || i.MaxCommandLine != 2016 || i.InitSize != 16<<20 || i.Packed() {
		t.Fatalf("%+v, %v", i, err)
	}
	f, err := i.Facts()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(f.Handover, []string{"kho-v4", "luo-v5", "memfd-v2", "not-kho-v3"}) {
		t.Errorf("formats %q", f.Handover)
	}
	if f.Release != "7.3.4-test" || f.Banner != "Linux version 7.3.4-test (me@here) (gcc) #1 SMP" {
		t.Errorf("release %q, banner %q", f.Release, f.Banner)
	}
	if len(f.BuildIDs) != 1 || !bytes.Equal(f.BuildIDs[0], id) {
		t.Errorf("build IDs %x", f.BuildIDs)
	}
	config := ParseConfig(f.Config)
	if !config.Has("A") || config.Has("B") || config.Has("C") || !config.Modules() {
		t.Errorf("config %v", config)
	}
}

// Every kind in the table is found with its sub-components, and so is what only looks like
// a handover format.
func TestHandoverFormatsAreFound(t *testing.T) {
	for given, want := range map[string][]string{
		"kho-v4":                    {"kho-v4"},
		"memfd-v2;holes-v1":         {"memfd-v2;holes-v1"},
		"reserve-mem-v1":            {"reserve-mem-v1"},
		"vfio-pci-v1":               {"vfio-pci-v1"},
		"kvm_vm_luo_v1":             {"kvm_vm_luo_v1"},
		"guest_memfd_luo_v12":       {"guest_memfd_luo_v12"},
		"rxe-liveupdate-v1":         {"rxe-liveupdate-v1"},
		"tomorrow_luo_v3;more-v1":   {"tomorrow_luo_v3;more-v1"},
		"qcom,msm-iommu-v1":         nil,
		"fluorine-v2":               {"fluorine-v2"}, // rather one too many than one too few
		"kho-v":                     nil,
		"kho-v12345":                nil,
		"liveupdate":                nil,
		"memfd-v2 and other text":   nil,
		"spectre_v2":                nil,
		"luo: session %s is too-v2": nil,
	} {
		data := slices.Concat([]byte("text\x00"), []byte(given), []byte("\x00text"))
		f, err := scan(bytes.NewReader(data))
		if err != nil || !slices.Equal(f.Handover, want) {
			t.Errorf("%q: found %q, %v", given, f.Handover, err)
		}
	}
	names := map[string]bool{}
	for _, known := range Handovers {
		if f, is := HandoverOf(known.Name + "7;a-v1"); !is || f != known || known.Source == "" || names[known.Name] {
			t.Errorf("%+v: %+v", known, f)
		}
		names[known.Name] = true
	}
	if f, is := HandoverOf("tomorrow_luo_v3"); is {
		t.Errorf("%+v", f)
	}
}

// The scan must find the same wherever the borders of its window fall.
func TestNothingIsMissedAtABorder(t *testing.T) {
	what := slices.Concat([]byte("\x00luo-v5\x00"), buildID, id, configStart, gzipped([]byte("CONFIG_A=y\n")), configEnd)
	for shift := range len(what) + 40 {
		data := slices.Concat(bytes.Repeat([]byte{1}, scanOverlap+scanChunk-shift), what, bytes.Repeat([]byte{1}, scanChunk))
		f, err := scan(bytes.NewReader(data))
		if err != nil || len(f.Handover) != 1 || len(f.BuildIDs) != 1 || !ParseConfig(f.Config).Has("A") {
			t.Fatalf("shifted by %d: %+v, %v", shift, f, err)
		}
	}
}

func arm64(payload string) []byte {
	b := make([]byte, arm64HeaderSize)
	copy(b[offArm64Magic:], "ARM\x64")
	binary.LittleEndian.PutUint64(b[offArm64ImageSize:], 32<<20)
	return append(b, payload...)
}

func zboot(compression string, payload []byte) []byte {
	b := make([]byte, 4096)
	copy(b, "MZ\x00\x00zimg")
	binary.LittleEndian.PutUint32(b[offZbootPayload:], uint32(len(b)))
	binary.LittleEndian.PutUint32(b[offZbootSize:], uint32(len(payload)))
	copy(b[offZbootCompression:], compression)
	return append(b, payload...)
}

func TestArm64ImagesAreRead(t *testing.T) {
	bare := arm64("\x00luo-v5\x00Linux version 7.3.4-arm (a) #1\n")
	for format, data := range map[Format][]byte{
		Arm64: bare, Gzip: gzipped(bare), Zboot: zboot("gzip", gzipped(bare)),
	} {
		i, err := read(data)
		if err != nil || i.Format != format || i.Arch != "arm64" || i.InitSize != 32<<20 || i.MaxCommandLine != 2047 || i.Packed() != (format != Arm64) {
			t.Fatalf("%s: %+v, %v", format, i, err)
		}
		f, err := i.Facts()
		if err != nil || f.Release != "7.3.4-arm" || !slices.Equal(f.Handover, []string{"luo-v5"}) {
			t.Errorf("%s: %+v, %v", format, f, err)
		}
	}
}

// As the kernel's build does, other formats than gzip have four bytes behind.
func TestEveryCompressionOfAPayload(t *testing.T) {
	for _, format := range []compression.Format{compression.Gzip, compression.Bzip2, compression.LZMA, compression.XZ, compression.LZO, compression.LZ4, compression.Zstd} {
		payload, err := os.ReadFile("../compression/testdata/" + string(format))
		if err != nil {
			t.Fatal(err)
		}
		if format != compression.Gzip {
			payload = binary.LittleEndian.AppendUint32(payload, 96011)
		}
		i, err := read(bzImage("7", payload))
		if err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		if f, err := i.Facts(); err != nil || !slices.Equal(f.Handover, []string{"kho-v4", "luo-v5", "memfd-v2"}) {
			t.Errorf("%s: %+v, %v", format, f, err)
		}
	}
}

func TestWhatIsNoKernelIsSaidToBeNone(t *testing.T) {
	good := bzImage("7", gzipped(kernel()))
	with := func(at int, b ...byte) []byte {
		changed := bytes.Clone(good)
		copy(changed[at:], b)
		return changed
	}
	for what, c := range map[string]struct {
		data []byte
		text string
	}{
		"nothing":             {nil, "only 0 bytes"},
		"a text":              {[]byte("hello"), "only 5 bytes"},
		"a long text":         {bytes.Repeat([]byte("x"), 5000), "neither the header"},
		"a PE image":          {append([]byte("MZ"), make([]byte, 5000)...), "PE image"},
		"a zstd file":         {append([]byte("\x28\xb5\x2f\xfd"), make([]byte, 5000)...), "compressed with zstd"},
		"half of one":         {good[:5000], "half written"},
		"only a head":         {good[:0x300], "no end"},
		"a gzipped text":      {gzipped(kernel()), "no arm64 Image"},
		"a broken gzip":       {append([]byte{0x1f, 0x8b}, make([]byte, 5000)...), "gzip"},
		"an old protocol":     {with(offProtocol, 0x0a, 0x02), "too old"},
		"a 32-bit kernel":     {with(offXLoadFlags, 0, 0), "64-bit"},
		"a payload outside":   {with(offPayloadOffset, 0xff, 0xff, 0xff, 0xff), "half written"},
		"an unknown payload":  {bzImage("7", []byte("what is this thing")), "in no way known"},
		"a version with junk": {bzImage("7/../x", gzipped(kernel())), "is none"},
		"an unknown zboot":    {zboot("rot13", gzipped(arm64(""))), "rot13"},
	} {
		if i, err := read(c.data); err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %+v, %v, want %q", what, i, err, c.text)
		}
	}
	damaged := bytes.Clone(good)
	clear(damaged[len(damaged)-2000:])
	i, err := read(damaged)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := i.Facts(); err == nil {
		t.Error("a damaged payload was unpacked")
	}
	if _, err := scan(strings.NewReader("")); err == nil {
		t.Error("nothing was taken for a kernel")
	}
}

func TestTheHeadOfARealImage(t *testing.T) {
	head, err := os.ReadFile("../testdata/bzimage-7.2.13-luo.head")
	if err != nil {
		t.Fatal(err)
	}
	i, err := Read(bytes.NewReader(append(head, make([]byte, 1<<20)...)), 8<<20)
	if i == nil || i.Version != "7.2.13-luo" || i.MaxCommandLine != 2016 || i.Arch != "amd64" {
		t.Fatalf("%+v, %v", i, err)
	}
}

// LUOD_TEST_IMAGES names a directory of real images; make test-all takes those that
// u-root tests its own reader with, one of each compression.
func TestRealImages(t *testing.T) {
	dir := os.Getenv("LUOD_TEST_IMAGES")
	if dir == "" {
		t.Skip("LUOD_TEST_IMAGES names no images; make test-all has some")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		i, err := read(data)
		if err != nil {
			// What else lies there is no kernel, or one of 32 bits.
			if strings.HasPrefix(filepath.Base(path), "bzImage-") {
				t.Errorf("%s: %v", path, err)
			}
			continue
		}
		f, err := i.Facts()
		if err != nil || f.Release != i.Version {
			t.Errorf("%s: %v", path, err)
		}
		t.Logf("%s: %s %s, %d bytes of configuration, %v", filepath.Base(path), i.packed, f.Release, len(f.Config), f.Handover)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(bzImage("7", gzipped([]byte("\x7fELF\x00luo-v5\x00"))))
	f.Add(arm64("x"))
	f.Add(gzipped(arm64("x")))
	f.Add(zboot("zstd", []byte("\x28\xb5\x2f\xfd")))
	f.Fuzz(func(t *testing.T, data []byte) {
		i, err := read(data)
		if err != nil {
			return
		}
		if i.MaxCommandLine < 0 || len(i.Version) > 256 || i.payload.offset+i.payload.size > int64(len(data)) {
			t.Fatalf("%+v", i)
		}
		if r, err := i.Payload(); err == nil {
			defer r.Close()
			b := make([]byte, 1<<20)
			if _, err := r.Read(b); errors.Is(err, compression.ErrTooLarge) {
				t.Fatal("too large at once")
			}
		}
	})
}

func FuzzScan(f *testing.F) {
	f.Add([]byte("\x00luo-v5\x00kho-v\x00Linux version 7 (a\n"))
	f.Add(slices.Concat(configStart, gzipped([]byte("CONFIG_A=y")), configEnd, buildID, id))
	f.Fuzz(func(t *testing.T, data []byte) {
		facts, err := scan(bytes.NewReader(data))
		if err == nil && (len(facts.Handover) > maxFound || len(facts.BuildIDs) > maxFound || len(facts.Release) > 64) {
			t.Fatalf("%+v", facts)
		}
	})
}
