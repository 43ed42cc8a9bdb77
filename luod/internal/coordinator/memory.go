package coordinator

import (
	"context"
	"errors"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/kexec/verdict"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/memory"
	"github.com/liveupdate/luod/luod/internal/packer"
	"github.com/liveupdate/luod/luod/internal/vault"
)

// measure says what packing files takes, and how much there is.
func (c *Coordinator) measure(files []*vault.File) (memory.Demand, memory.Available, error) {
	available, err := c.Memory()
	if err != nil {
		return nil, available, fault.New(errorname.NotEnoughMemory, "find out whether the memory is enough: %w", err)
	}
	demand, err := memory.Need(files, available.Swapped)
	if err != nil {
		return nil, available, fault.New(errorname.NotEnoughMemory, "find out whether the memory is enough: %w", err)
	}
	return demand, available, nil
}

// room refuses to pack files where there is too little memory for it, before the kernel
// takes it from others. It returns those that may come back with more seals, since there
// is none for a copy and nobody can write to them anyway. It borrows files.
func (c *Coordinator) room(files []*vault.File) (map[*vault.File]bool, error) {
	demand, available, err := c.measure(files)
	if err != nil {
		return nil, err
	}
	superset, err := demand.Against(available)
	if err != nil {
		return nil, fault.New(errorname.NotEnoughMemory, "no live update is possible: there is not enough memory: %w; %s", err, memory.Remedy)
	}
	return superset, nil
}

// roomForAll is room for all that was handed over. To look at all of it may take a while.
func (c *Coordinator) roomForAll(ctx context.Context) error {
	unlock, err := c.LockHoldings(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	files := c.heldFilesLocked()
	c.Apart(func() { _, err = c.room(files) })
	return err
}

// heldFilesLocked is all that was handed over.
func (c *Coordinator) heldFilesLocked() []*vault.File {
	var files []*vault.File
	for _, unit := range c.Vault.Units() {
		files = append(files, c.Vault.Files(unit)...)
	}
	return files
}

func filesOf(units []packer.Unit) []*vault.File {
	var files []*vault.File
	for _, u := range units {
		files = append(files, u.Files...)
	}
	return files
}

// checkMemory tells the checks whether there is room.
func (c *Coordinator) checkMemory(ctx context.Context) verdict.Result {
	result, err := c.judgeMemory(ctx)
	var short *memory.Shortage
	switch {
	case errors.As(err, &short):
		result = verdict.Result{Verdict: verdict.Fail, Reason: err.Error(), Remedy: memory.Remedy}
	case err != nil:
		result = verdict.Result{Verdict: verdict.Fail, Reason: err.Error(), Remedy: "try again"}
	}
	result.Name = "service-memory"
	return result
}

func (c *Coordinator) judgeMemory(ctx context.Context) (result verdict.Result, err error) {
	unlock, err := c.LockHoldings(ctx)
	if err != nil {
		return verdict.Result{}, err
	}
	defer unlock()
	files := c.heldFilesLocked()
	c.Apart(func() {
		demand, available, e := c.measure(files)
		if err = e; err != nil {
			return
		}
		result = verdict.Result{Verdict: verdict.OK, Reason: demand.Summary(available)}
		superset, e := demand.Against(available)
		if err = e; err == nil && len(superset) > 0 {
			result.Verdict, result.Remedy = verdict.Warn, "free memory"
			result.Reason += "; some memfds with MFD_NOEXEC_SEAL that nobody can write to will come back with more seals"
		}
	})
	return result, err
}
