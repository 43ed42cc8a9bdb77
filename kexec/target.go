package kexec

// Target is what to boot.
type Target struct {
	// Kernel is the path of a bzImage (amd64) or an Image (arm64).
	Kernel string
	// Initrd is the path of an initial RAM file system, or empty for none.
	Initrd string
	// CommandLine is passed as it is: see CommandLine for building one.
	CommandLine string
}
