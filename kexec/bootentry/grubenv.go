package bootentry

import "github.com/liveupdate/luod/kexec/grubenv"

// grubEnvFiles are where GRUB keeps its variables.
var grubEnvFiles = []string{"boot/grub2/grubenv", "boot/grub/grubenv"}

// maxGrubEnv bounds an environment block. It has 1024 bytes (grub-editenv(1)),
// but nothing says that it can't have more.
const maxGrubEnv = 64 << 10

// grubEnv reads the variables, which Fedora's entries use; without such a file
// there are none. A symbolic link is followed wherever it leads, since Fedora has
// one from /boot to the ESP.
func (s System) grubEnv() []grubenv.Variable {
	for _, file := range grubEnvFiles {
		if text, err := readFile(s.path(file), maxGrubEnv); err == nil {
			return grubenv.Parse(string(text))
		}
	}
	return nil
}
