package initrd

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/liveupdate/luod/kexec/compression"
)

// archive makes a newc archive of files of 5 bytes.
func archive(names ...string) []byte {
	var b bytes.Buffer
	add := func(name, data string) {
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 0, 0o100644, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0)
		b.WriteString(name + "\x00")
		b.Write(make([]byte, -b.Len()&3))
		b.WriteString(data)
		b.Write(make([]byte, -b.Len()&3))
	}
	for _, name := range names {
		add(name, "12345")
	}
	add(trailer, "")
	return b.Bytes()
}

func gzipped(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(data)
	_ = w.Close()
	return b.Bytes()
}

func TestPartsAndModulesAreFound(t *testing.T) {
	micro := archive("kernel/x86/microcode/GenuineIntel.bin")
	main := archive("init", "usr/lib/modules/7.3.4/kernel/ext4.ko", "./lib/modules/7.2.0/modules.dep", "lib/modules")
	for what, c := range map[string]struct {
		data         []byte
		compressions []compression.Format
		modules      []string
	}{
		"bare":                   {main, nil, []string{"7.3.4", "7.2.0"}},
		"packed":                 {gzipped(main), []compression.Format{compression.Gzip}, []string{"7.3.4", "7.2.0"}},
		"microcode and packed":   {slices.Concat(micro, make([]byte, 512), gzipped(main)), []compression.Format{compression.Gzip}, []string{"7.3.4", "7.2.0"}},
		"two bare":               {slices.Concat(micro, main), nil, []string{"7.3.4", "7.2.0"}},
		"packed, two in a file":  {gzipped(slices.Concat(micro, main)), []compression.Format{compression.Gzip}, []string{"7.3.4", "7.2.0"}},
		"nothing about a kernel": {archive("init"), nil, nil},
	} {
		got, err := Read(bytes.NewReader(c.data), nil)
		if err != nil || !slices.Equal(got.Compressions, c.compressions) || !slices.Equal(got.Modules, c.modules) {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
}

func TestReadingStopsWhenItIsEnough(t *testing.T) {
	data := slices.Concat(archive("lib/modules/7/x"), []byte("and then rubbish"))
	c, err := Read(bytes.NewReader(data), func(c Contents) bool { return len(c.Modules) > 0 })
	if err != nil || c.Complete || len(c.Modules) != 1 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestBadOnesAreRefused(t *testing.T) {
	good := archive("init", "lib/modules/7/x")
	for what, data := range map[string][]byte{
		"nothing":         nil,
		"zeros":           make([]byte, 1000),
		"a text":          []byte("hello, this is no initrd"),
		"half an archive": good[:len(good)/2],
		"a packed text":   gzipped([]byte("hello, this is no initrd")),
		"a cut gzip":      gzipped(good)[:60],
		"rubbish behind":  append(bytes.Clone(good), "rubbish"...),
		"a long name":     bytes.Replace(good, []byte("00000005"), []byte("7fffffff"), 1)[:200],
		"no number":       slices.Concat(good[:54], []byte("zzzzzzzz"), good[62:]),
	} {
		if c, err := Read(bytes.NewReader(data), nil); err == nil {
			t.Errorf("%s: %+v", what, c)
		}
	}
	if _, err := Read(strings.NewReader("hello, this is no initrd"), nil); !errors.Is(err, ErrNone) {
		t.Errorf("got %v", err)
	}
	if _, err := Read(io.LimitReader(zeros{}, 1<<20), nil); !errors.Is(err, ErrNone) {
		t.Errorf("got %v", err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func FuzzRead(f *testing.F) {
	f.Add(archive("init", "lib/modules/7/x"))
	f.Add(gzipped(archive("init")))
	f.Add(slices.Concat(archive("a"), make([]byte, 100), gzipped(archive("b"))))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, _ := Read(bytes.NewReader(data), nil)
		if len(c.Modules) > maxReleases {
			t.Fatalf("%+v", c)
		}
	})
}
