package image

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// Facts are what a payload tells.
type Facts struct {
	// Banner is what /proc/version shows when this kernel runs (linux_banner in
	// init/version-timestamp.c), Release the uname -r in it.
	Banner, Release string
	// BuildIDs are the GNU build IDs in it, the kernel's own and those of its
	// vDSOs.
	BuildIDs [][]byte
	// Config is the text of the embedded configuration, or nil if there is none
	// (CONFIG_IKCONFIG).
	Config []byte
	// Handover are the handover formats it speaks, sorted: "kho-v4", "luo-v5",
	// "memfd-v2" (see Handovers), and what looks like one that is not known.
	Handover []string
}

const (
	// scanChunk is how much is looked at in one go, scanOverlap how much of it
	// again with the next: more than anything that is searched for.
	scanChunk   = 1 << 20
	scanOverlap = 4096

	// maxConfig bounds the packed and the unpacked configuration, in bytes; a
	// distribution's has 280 KB.
	maxConfig = 4 << 20
	maxFound  = 64
)

var (
	bannerPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`Linux version ([!-~]{1,64}) \([ -~]+\n`) })

	// Elf_Nhdr of an NT_GNU_BUILD_ID with its name and 20 bytes to come.
	buildID = []byte("\x04\x00\x00\x00\x14\x00\x00\x00\x03\x00\x00\x00GNU\x00")

	// kernel/configs.c.
	configStart, configEnd = []byte("IKCFG_ST"), []byte("IKCFG_ED")
)

// Facts unpacks the payload and looks for what it tells. It takes at most
// MaxUnpacked bytes through a window of a few MiB.
func (i *Image) Facts() (Facts, error) {
	r, err := i.Payload()
	if err != nil {
		return Facts{}, err
	}
	defer r.Close()
	return scan(r)
}

func scan(r io.Reader) (Facts, error) {
	var f Facts
	var config []byte
	inConfig := false
	buffer := make([]byte, 0, scanOverlap+scanChunk)
	first := true
	for {
		n, err := io.ReadFull(r, buffer[len(buffer):cap(buffer)])
		buffer = buffer[:len(buffer)+n]
		// An unexpected end of what is packed comes wrapped, and is no end.
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return f, fmt.Errorf("unpack the kernel: %w", err)
		}
		last := err != nil
		if first && n == 0 {
			return f, errors.New("unpack the kernel: nothing is in it")
		}
		f.look(buffer)
		// The configuration is longer than the overlap: collected across chunks.
		fresh := buffer
		if !first {
			fresh = buffer[min(scanOverlap, len(buffer)-n):]
		}
		if !inConfig && f.Config == nil {
			// The mark itself may lie across the border.
			if at := bytes.Index(buffer, configStart); at >= 0 {
				inConfig, fresh = true, buffer[at+len(configStart):]
			}
		}
		if inConfig {
			config = append(config, fresh...)
			if end := bytes.Index(config, configEnd); end >= 0 {
				f.Config = unpackConfig(config[:end])
				inConfig, config = false, nil
				if f.Config == nil {
					f.Config = []byte{}
				}
			} else if len(config) > maxConfig {
				inConfig, config, f.Config = false, nil, []byte{}
			}
		}
		if last {
			break
		}
		keep := min(scanOverlap, len(buffer))
		copy(buffer, buffer[len(buffer)-keep:])
		buffer, first = buffer[:keep], false
	}
	if len(f.Config) == 0 {
		f.Config = nil
	}
	slices.Sort(f.Handover)
	return f, nil
}

// look finds what is wholly in chunk; what is cut off at its end is found again
// in the next.
func (f *Facts) look(chunk []byte) {
	if f.Banner == "" && bytes.Contains(chunk, []byte("Linux version ")) {
		if m := bannerPattern().FindSubmatch(chunk); m != nil {
			f.Banner, f.Release = string(bytes.TrimSuffix(m[0], []byte("\n"))), string(m[1])
		}
	}
	for at := range occurrences(chunk, buildID) {
		end := at + len(buildID) + 20
		if end > len(chunk) || len(f.BuildIDs) >= maxFound {
			break
		}
		id := chunk[at+len(buildID) : end]
		if !slices.ContainsFunc(f.BuildIDs, func(b []byte) bool { return bytes.Equal(b, id) }) {
			f.BuildIDs = append(f.BuildIDs, bytes.Clone(id))
		}
	}
	f.lookForFormats(chunk)
}

// unpackConfig returns nil if it can't.
func unpackConfig(packed []byte) []byte {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(z, maxConfig))
	if err != nil {
		return nil
	}
	return text
}
