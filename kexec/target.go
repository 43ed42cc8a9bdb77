package kexec

// Target is what to boot.
type Target struct {
	// Kernel is the path of a kernel image or of a unified kernel image.
	Kernel string `json:"kernel"`
	// Profile is the number of the unified kernel image's profile; 0 is its base.
	Profile int `json:"profile,omitempty"`
	// Initrds are the paths of initial RAM file systems, which the kernel gets
	// as one, behind those of a unified kernel image.
	Initrds []string `json:"initrds"`
	// CommandLine is passed as it is: see CommandLine for building one.
	CommandLine string `json:"commandLine"`
}
