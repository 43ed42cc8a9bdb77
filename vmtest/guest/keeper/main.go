// Command keeper is a service with memory, for the lab: at its first start it
// fills memfds and hands them to luod over D-Bus, and at every later start it
// asks luod for them. Either way it writes down what it has, so that a test can
// compare. What it fills in depends on its unit and the memfd's name, so that a
// mix-up between services can't go unnoticed.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/client"
)

// fact is what a test compares of one file.
type fact struct {
	SHA256   string `json:"sha256"`
	Size     int64  `json:"size"`
	Seals    int    `json:"seals"`
	Position int64  `json:"position"`
	Mode     int    `json:"mode"`
	Access   uint32 `json:"access"`
	UID      uint32 `json:"uid"`
	GID      uint32 `json:"gid"`
	Expected bool   `json:"expected"`
}

// report is what keeper writes down.
type report struct {
	Unit   string          `json:"unit"`
	Fresh  bool            `json:"fresh"`
	Kernel string          `json:"kernel"`
	Files  map[string]fact `json:"files"`
	// ReadUsec is when everything was read, in µs of the wall clock.
	ReadUsec int64 `json:"readUsec"`
}

func main() {
	log.SetFlags(0)
	unit := flag.String("unit", "", "the unit's name, to tell services apart")
	files := flag.String("files", "data:4096", "comma-separated NAME:SIZE[:KIND]; KIND is sealed, immutable, sparse, readonly, moved, noexec, hardened (noexec, and immutable) or private")
	var part participation
	flag.BoolVar(&part.register, "register", false, "take part in live updates")
	flag.BoolVar(&part.Optional, "optional", false, "updates may go on without this service")
	flag.DurationVar(&part.Timeout, "timeout", 0, "how long this service may take to be ready")
	after := flag.String("after", "", "comma-separated units to be prepared after")
	flag.BoolVar(&part.session, "session", false, "keep another file in a session of its own")
	out := flag.String("report", "/run/keeper", "directory to write the report to")
	flag.Parse()
	if *after != "" {
		part.After = strings.Split(*after, ",")
	}
	if err := run(*unit, *files, *out, part); err != nil {
		log.Fatal("keeper: ", err)
	}
}

func run(unit, spec, out string, part participation) error {
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	luod, err := client.Connect(ctx)
	if err != nil {
		return err
	}
	defer luod.Close()
	held, err := luod.Retrieve(ctx)
	if err != nil {
		return err
	}
	r := report{Unit: unit, Fresh: len(held) == 0, Files: map[string]fact{}}
	wanted, err := parse(spec)
	if err != nil {
		return err
	}
	if r.Fresh {
		if held, err = create(unit, wanted); err != nil {
			return err
		}
		names := slices.Sorted(maps.Keys(held))
		list := make([]*os.File, len(names))
		for i, name := range names {
			list[i] = held[name]
		}
		if err := luod.Preserve(ctx, names, list); client.NotSupported(err) {
			log.Print("going on without live updates: ", err)
		} else if err != nil {
			return err
		}
	}
	if part.session {
		f, err := ownSession(ctx, luod, unit)
		if err != nil {
			return fmt.Errorf("the session of its own: %w", err)
		}
		held[sessionName], wanted[sessionName] = f, want{name: sessionName, size: 8192}
	}
	for name, f := range held {
		if r.Files[name], err = look(f, unit, wanted[name]); err != nil {
			return fmt.Errorf("look at %s: %w", name, err)
		}
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	r.Kernel = unix.ByteSliceToString(u.Release[:])
	r.ReadUsec = time.Now().UnixMicro()
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	path := filepath.Join(out, unit+".json")
	if err := os.WriteFile(path+".new", data, 0o644); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	log.Printf("fresh=%v files=%d", r.Fresh, len(r.Files))
	if part.register {
		events, err := luod.Register(ctx, part.Participation)
		if err != nil {
			return err
		}
		go part.answer(luod, events, unit, out)
	}
	ready()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	<-stop
	return nil
}

// ready tells systemd, if it asked (Type=notify).
func ready() {
	if path := os.Getenv("NOTIFY_SOCKET"); path != "" {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			_ = unix.Sendto(fd, []byte("READY=1"), 0, &unix.SockaddrUnix{Name: path})
			unix.Close(fd)
		}
	}
}

type want struct {
	name string
	size int64
	kind string
}

func parse(spec string) (map[string]want, error) {
	all := map[string]want{}
	for _, one := range strings.Split(spec, ",") {
		parts := append(strings.Split(one, ":"), "", "")
		size, err := strconv.ParseInt(parts[1], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%q has no size", one)
		}
		all[parts[0]] = want{parts[0], size, parts[2]}
	}
	return all, nil
}

// pattern is the endless content of one file.
func pattern(unit, name string) io.Reader {
	return rand.NewChaCha8(sha256.Sum256([]byte(unit + "/" + name)))
}

// stranger is the user and the group that own a private file.
const stranger = 4242

// sparseAt are the places that a sparse file has something at.
func sparseAt(size int64) []int64 { return []int64{0, size / 2 &^ 4095, size - 1} }

func create(unit string, wanted map[string]want) (map[string]*os.File, error) {
	files := map[string]*os.File{}
	for _, w := range wanted {
		flags := unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
		if w.kind == "noexec" || w.kind == "hardened" {
			flags |= unix.MFD_NOEXEC_SEAL
		}
		fd, err := unix.MemfdCreate(w.name, flags)
		if err != nil {
			return nil, err
		}
		f := os.NewFile(uintptr(fd), w.name)
		if err := fill(f, unit, w); err != nil {
			return nil, fmt.Errorf("fill %s: %w", w.name, err)
		}
		switch w.kind {
		case "sealed":
			_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_GROW|unix.F_SEAL_SHRINK)
		case "noexec":
			_, err = f.Seek(w.size/3, io.SeekStart)
		case "private":
			if err = unix.Fchmod(fd, 0o600); err == nil {
				err = unix.Fchown(fd, stranger, stranger)
			}
		case "immutable", "hardened":
			_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
		case "readonly":
			f, err = os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
			if err == nil {
				_, err = f.Seek(7, io.SeekStart)
			}
		case "moved":
			_, err = f.Seek(w.size/2, io.SeekStart)
		}
		if err != nil {
			return nil, fmt.Errorf("make %s %s: %w", w.name, w.kind, err)
		}
		files[w.name] = f
	}
	return files, nil
}

func fill(f *os.File, unit string, w want) error {
	if err := f.Truncate(w.size); err != nil {
		return err
	}
	p := pattern(unit, w.name)
	if w.kind == "sparse" {
		for _, at := range sparseAt(w.size) {
			b := make([]byte, 1)
			if _, err := io.ReadFull(p, b); err != nil {
				return err
			}
			if _, err := f.WriteAt(b, at); err != nil {
				return err
			}
		}
		return nil
	}
	_, err := io.Copy(io.NewOffsetWriter(f, 0), io.LimitReader(p, w.size))
	return err
}

// look reads everything and says whether it is byte for byte what this unit
// filled in.
func look(f *os.File, unit string, w want) (fact, error) {
	st, err := f.Stat()
	if err != nil {
		return fact{}, err
	}
	v := fact{Size: st.Size()}
	var raw unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &raw); err != nil {
		return fact{}, err
	}
	v.Access, v.UID, v.GID = raw.Mode, raw.Uid, raw.Gid
	if v.Position, err = f.Seek(0, io.SeekCurrent); err != nil {
		return v, err
	}
	if v.Seals, err = unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0); err != nil {
		return v, err
	}
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil {
		return v, err
	}
	v.Mode = flags & unix.O_ACCMODE
	got, want := sha256.New(), sha256.New()
	if _, err := io.Copy(got, io.NewSectionReader(f, 0, st.Size())); err != nil {
		return v, err
	}
	p := pattern(unit, w.name)
	if w.kind == "sparse" {
		whole := make([]byte, w.size)
		for _, at := range sparseAt(w.size) {
			if _, err := io.ReadFull(p, whole[at:at+1]); err != nil {
				return v, err
			}
		}
		want.Write(whole)
	} else if _, err := io.CopyN(want, p, w.size); err != nil {
		return v, err
	}
	v.SHA256 = fmt.Sprintf("%x", got.Sum(nil))
	v.Expected = v.SHA256 == fmt.Sprintf("%x", want.Sum(nil))
	return v, nil
}
