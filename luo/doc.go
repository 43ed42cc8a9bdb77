// Package luo speaks with the kernel's Live Update Orchestrator: /dev/liveupdate
// and the sessions it makes, whose files live on over a kexec. It is the six
// ioctls of include/uapi/linux/liveupdate.h, typed, with each errno explained,
// and no policy. An open session is all that keeps its files alive, so every
// type here says who owns a descriptor and what closing it means.
package luo
