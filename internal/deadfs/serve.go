package deadfs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// The requests of include/uapi/linux/fuse.h that one file takes (enum fuse_opcode).
const (
	opLookup      = 1
	opForget      = 2
	opGetattr     = 3
	opOpen        = 14
	opStatfs      = 17
	opRelease     = 18
	opFlush       = 25
	opInit        = 26
	opInterrupt   = 36
	opIoctl       = 39
	opPoll        = 40
	opBatchForget = 42
	opStatx       = 52
)

var names = map[uint32]string{
	opLookup: "LOOKUP", opGetattr: "GETATTR", opOpen: "OPEN", opStatfs: "STATFS", opRelease: "RELEASE", opFlush: "FLUSH", opIoctl: "IOCTL", opPoll: "POLL", opStatx: "STATX",
}

// header is struct fuse_in_header.
type header struct {
	Length, Op   uint32
	Unique, Node uint64
	UID, GID     uint32
	// Thread is in the PID namespace of who mounted it.
	Thread  uint32
	Padding uint32
}

// attributes is struct fuse_attr.
type attributes struct {
	Inode, Size, Blocks, Atime, Mtime, Ctime                                  uint64
	AtimeNsec, MtimeNsec, CtimeNsec, Mode, Links, UID, GID, Rdev, Block, Zero uint32
}

const (
	theDirectory = 1 // FUSE_ROOT_ID
	theFile      = 2
)

func attributesOf(node uint64) attributes {
	if node == theDirectory {
		return attributes{Inode: node, Mode: unix.S_IFDIR | 0o755, Links: 2}
	}
	return attributes{Inode: node, Mode: unix.S_IFREG | 0o666, Links: 1, Size: 4096, Blocks: 8, Block: 4096}
}

// serve answers until the file system is unmounted.
func (f *FS) serve() {
	defer close(f.done)
	buffer := make([]byte, 1<<17) // more than FUSE_MIN_READ_BUFFER
	for {
		n, err := unix.Read(f.device, buffer)
		if err == unix.EINTR || err == unix.ENOENT { // given up before it was read
			continue
		}
		if err != nil {
			return // ENODEV: unmounted
		}
		var h header
		_ = binary.Read(bytes.NewReader(buffer[:n]), binary.NativeEndian, &h)
		if f.ignores(h) {
			continue
		}
		f.answer(h)
	}
}

// ignores says whether the file system is dead for who asks, and notes what it was.
// What the kernel tells and wants no answer to is noted of nobody.
func (f *FS) ignores(h header) bool {
	if h.Op == opForget || h.Op == opBatchForget || h.Op == opInterrupt {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.dead || slices.Contains(f.exempt, h.Thread) {
		return false
	}
	name, is := names[h.Op]
	if !is {
		name = fmt.Sprint("request ", h.Op)
	}
	f.asked = append(f.asked, name)
	return true
}

func (f *FS) answer(h header) {
	var errno unix.Errno
	var body any
	switch h.Op {
	case opInit: // struct fuse_init_out of the minor version 31
		body = struct {
			Major, Minor, Readahead, Flags uint32
			Background, Congestion         uint16
			Write, Granularity             uint32
			Pages, Alignment               uint16
			Flags2                         uint32
			Unused                         [7]uint32
		}{Major: 7, Minor: 31, Write: 4096, Granularity: 1}
	case opLookup: // struct fuse_entry_out; nothing is valid for long
		body = struct {
			Node, Generation, EntryValid, AttrValid uint64
			EntryValidNsec, AttrValidNsec           uint32
			Attr                                    attributes
		}{Node: theFile, Attr: attributesOf(theFile)}
	case opGetattr: // struct fuse_attr_out
		body = struct {
			Valid           uint64
			ValidNsec, Zero uint32
			Attr            attributes
		}{Attr: attributesOf(h.Node)}
	case opOpen: // struct fuse_open_out
		body = struct {
			Handle      uint64
			Flags, Zero uint32
		}{}
	case opStatfs: // struct fuse_statfs_out
		body = [80]byte{}
	case opPoll: // struct fuse_poll_out
		body = [2]uint32{}
	case opFlush, opRelease:
	default:
		errno = unix.ENOSYS
	}
	var out bytes.Buffer
	if body != nil {
		_ = binary.Write(&out, binary.NativeEndian, body)
	}
	var message bytes.Buffer
	_ = binary.Write(&message, binary.NativeEndian, struct { // struct fuse_out_header
		Length uint32
		Error  int32
		Unique uint64
	}{uint32(16 + out.Len()), -int32(errno), h.Unique})
	message.Write(out.Bytes())
	_, _ = unix.Write(f.device, message.Bytes()) // ENOENT: given up meanwhile
}
