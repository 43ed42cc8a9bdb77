// Package initrd looks into initial RAM file systems: how their parts are
// compressed, and for which kernels they hold modules. It reads them as the
// kernel does (init/initramfs.c): cpio archives one after the other, compressed
// or not, with zeros between them. It unpacks nothing to anywhere.
package initrd
