package recreation

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/recipe"
)

// describeFile describes a regular file.
func (h Host) describeFile(f *os.File, st unix.Stat_t) (*recipe.File, error) {
	fd := int(f.Fd())
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return nil, fmt.Errorf("read its flags: %w", err)
	}
	switch {
	case flags&unix.O_PATH != 0:
		return nil, errors.New("it was opened with O_PATH")
	case st.Nlink == 0:
		return nil, errors.New("it is deleted")
	}
	if err := survives(fd, st.Dev); err != nil {
		return nil, err
	}
	if locked, err := locked(fd); err != nil || locked {
		return nil, fmt.Errorf("it is locked, or leased, and the lock would be lost (%v)", err)
	}
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return nil, fmt.Errorf("find its path: %w", err)
	}
	d := &recipe.File{Path: path, Inode: st.Ino, Size: st.Size, Flags: flags & recipe.FileFlags}
	if d.Offset, err = unix.Seek(fd, 0, unix.SEEK_CUR); err != nil {
		return nil, fmt.Errorf("read its position: %w", err)
	}
	if d.UUID, d.HandleType, d.Handle, err = identity(fd); err != nil {
		return nil, err
	}
	found, err := h.find(d)
	if err != nil {
		return nil, err
	}
	return d, unix.Close(found)
}

// openFile opens the file that d describes, and no other.
func (h Host) openFile(d *recipe.File) (*os.File, error) {
	fd, err := h.find(d)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	return openAgain(fd, d.Flags, d.Position(st.Size))
}

// find opens d's path with O_PATH, which has no effect on whatever is there, and
// makes sure that it is the file. The caller closes the descriptor.
func (h Host) find(d *recipe.File) (_ int, err error) {
	// The path has no symbolic links: the kernel made it. Where one is now, or a
	// file system that is mounted over it, the file is another.
	fd, err := unix.Open(filepath.Join(h.Init, "root")+d.Path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("find it again by its path %s: %w", d.Path, err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return -1, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Ino != d.Inode {
		return -1, fmt.Errorf("find it again: at %s is another file (inode %d instead of %d)", d.Path, st.Ino, d.Inode)
	}
	// What is left of the ways to be another: its inode was given away anew, or it
	// is on another file system.
	uuid, handleType, handle, err := identity(fd)
	if err != nil {
		return -1, err
	}
	if uuid != d.UUID || handleType != d.HandleType || !slices.Equal(handle, d.Handle) {
		return -1, fmt.Errorf("find it again: at %s is another file (its handle, or its file system's UUID, is different)", d.Path)
	}
	return fd, nil
}

// identity is what a file keeps over a reboot and no other has.
func identity(fd int) (uuid string, handleType int32, handle []byte, err error) {
	h, _, err := unix.NameToHandleAt(fd, "", unix.AT_EMPTY_PATH)
	if err != nil {
		return "", 0, nil, fmt.Errorf("tell it from a file that is put in its place (name_to_handle_at): %w", err)
	}
	uuid, err = fileSystemUUID(fd)
	return uuid, h.Type(), h.Bytes(), err
}

// fsUUID is struct fsuuid2 of linux/fs.h, and getUUID is FS_IOC_GETFSUUID
// (Linux 6.9).
type fsUUID struct {
	length uint8
	uuid   [16]byte
}

const getUUID = 0x80111500

// fileSystemUUID works with O_PATH descriptors, too.
func fileSystemUUID(fd int) (string, error) {
	readable, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("ask for its file system's UUID: %w", err)
	}
	defer unix.Close(readable)
	var u fsUUID
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(readable), getUUID, uintptr(unsafe.Pointer(&u))); errno != 0 {
		return "", fmt.Errorf("ask for its file system's UUID: %w", errno)
	}
	return hex.EncodeToString(u.uuid[:min(int(u.length), len(u.uuid))]), nil
}

// volatile are file systems that go with the kernel, by their numbers in statfs(2).
var volatile = map[int64]string{
	unix.TMPFS_MAGIC: "tmpfs", unix.RAMFS_MAGIC: "ramfs", unix.HUGETLBFS_MAGIC: "hugetlbfs", unix.OVERLAYFS_SUPER_MAGIC: "overlay",
	unix.PROC_SUPER_MAGIC: "proc", unix.SYSFS_MAGIC: "sysfs", unix.CGROUP2_SUPER_MAGIC: "cgroup2", unix.DEBUGFS_MAGIC: "debugfs",
}

// survives says why the file system of fd, with that st_dev, would not live
// through a reboot, or may not.
func survives(fd int, device uint64) error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return fmt.Errorf("look at its file system: %w", err)
	}
	if name, is := volatile[int64(fs.Type)]; is {
		return fmt.Errorf("it is on a file system of the type %s, which may go with the kernel", name)
	}
	return onDisks(int64(fs.Type), device, func() (string, error) { return fileSystemUUID(fd) }, sysBlock)
}

// sysBlock is where the kernel tells of block devices by their numbers.
const sysBlock = "/sys/dev/block"

// onDisks wants block devices below the file system that are more than memory.
// btrfs has devices of its own numbers, and tells of the real ones in sysfs.
func onDisks(fsType int64, device uint64, uuid func() (string, error), blocks string) error {
	if unix.Major(device) != 0 {
		return onDisk(filepath.Join(blocks, fmt.Sprintf("%d:%d", unix.Major(device), unix.Minor(device))))
	}
	if fsType != unix.BTRFS_SUPER_MAGIC {
		return fmt.Errorf("its file system (type %#x of statfs(2)) is on no disk", fsType)
	}
	id, err := uuid()
	if err != nil {
		return err
	}
	if len(id) != 32 {
		return fmt.Errorf("its file system has the UUID %q", id)
	}
	id = strings.Join([]string{id[:8], id[8:12], id[12:16], id[16:20], id[20:]}, "-")
	dir := filepath.Join("/sys/fs/btrfs", id, "devices")
	devices, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("find the disks below it: %w", err)
	}
	for _, d := range devices {
		if err := onDisk(filepath.Join(dir, d.Name())); err != nil {
			return err
		}
	}
	return nil
}

// onDisk looks at a block device by its directory in sysfs, and below a loop
// device at the file system of its image.
func onDisk(dir string) error {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return fmt.Errorf("find the disk below it: %w", err)
	}
	name := filepath.Base(real)
	if strings.HasPrefix(name, "ram") || strings.HasPrefix(name, "zram") {
		return fmt.Errorf("its file system is on %s, which goes with the kernel", name)
	}
	image, err := os.ReadFile(filepath.Join(real, "loop", "backing_file"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("its file system is on %s, and what is below that can't be known (%v)", name, err)
	}
	fd, err := unix.Open(strings.TrimSuffix(string(image), "\n"), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("its file system is on %s: open its image: %w", name, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	return survives(fd, st.Dev)
}

// locked says whether there is a lock or a lease on this open file description
// (proc_pid_fdinfo(5)).
func locked(fd int) (bool, error) {
	f, err := os.Open(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	if err != nil {
		return false, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "lock:") {
			return true, nil
		}
	}
	return false, lines.Err()
}
