// Package bootentry finds what a machine can boot: entries of the Boot Loader
// Specification (UAPI.1) of type 1 and type 2, and plain kernels in /boot as
// Debian, Fedora and Arch lay them out. It sorts them and chooses the default as
// systemd does (src/shared/bootspec.c), except that nothing but a boot loader's
// setting chooses an entry with another machine's ID, a rescue kernel, or, while
// there is another, one whose tries are used up. It follows no path out of the
// partition that an entry lies on, and opens nothing but regular files.
package bootentry
