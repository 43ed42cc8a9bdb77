package main

import (
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// filesystem is one that something can be written to.
type filesystem struct {
	// Path is where it is mounted.
	Path string `json:"path"`
	// Remount says that it can be made read-only there: it lies on a block device
	// of this machine, and this mount is writable.
	Remount bool `json:"remount"`
}

// volatile are types that keep nothing, or that nobody may wait for: opening an
// automount point mounts it, and a network's or a process's file system may never
// answer. What is written to those was sent off by sync(2).
var volatile = []string{
	"autofs", "bpf", "binfmt_misc", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs", "fusectl",
	"hugetlbfs", "mqueue", "nsfs", "proc", "pstore", "ramfs", "rpc_pipefs", "securityfs", "selinuxfs", "smackfs", "sysfs", "tmpfs", "tracefs",
	"nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "afs", "virtiofs", "fuse",
}

// toFreeze picks each file system once, the last mounted first: it may lie in a
// file of an earlier one (proc_pid_mountinfo(5) lists them in the order of mounting).
func toFreeze(mounts []*mountinfo.Info) []filesystem {
	type device struct{ major, minor int }
	seen := map[device]bool{}
	var list []filesystem
	for _, m := range slices.Backward(mounts) {
		d := device{m.Major, m.Minor}
		if seen[d] || slices.Contains(volatile, m.FSType) || strings.HasPrefix(m.FSType, "fuse.") {
			continue
		}
		// The file system's own options are the last; a mount may be read-only
		// of one that is not.
		if !slices.Contains(strings.Split(m.VFSOptions, ","), "rw") {
			continue
		}
		seen[d] = true
		writable := slices.Contains(strings.Split(m.Options, ","), "rw")
		list = append(list, filesystem{Path: m.Mountpoint, Remount: writable && strings.HasPrefix(m.Source, "/dev/")})
	}
	return list
}
