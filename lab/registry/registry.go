// Package registry remembers which labs there are on this machine: each has a slot, which no two share, and a folder.
// The record is kept under /run, which the machine forgets when it restarts, as it forgets the labs. Every change is
// made under a lock, so any number of labs may be started and ended at the same time.
package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"isthmus.dev/isthmus/lab/layout"
)

// Root is the folder of the record and of every lab's sockets.
const Root = "/run/isthmus-lab"

// ErrFull says that every slot is taken.
var ErrFull = errors.New("no room for another lab")

// An Entry is one lab.
type Entry struct {
	Slot int    `json:"slot"`
	Dir  string `json:"dir"` // its own folder
}

// A Record is everything that is remembered.
type Record struct {
	Labs map[string]Entry `json:"labs"`
	// Sysctls are settings of the machine that were changed, with their value before.
	Sysctls map[string]string `json:"sysctls,omitempty"`
	// Dirs are folders of the machine that were made because nodes have their own in their place.
	Dirs []string `json:"dirs,omitempty"`
}

// Run is the folder of a lab's sockets.
func Run(lab string) string { return filepath.Join(Root, lab) }

// Change lets f read and change the record, alone. Nothing is kept if f returns an error. When the last lab is gone
// from the record, the record goes too.
func Change(f func(*Record) error) error {
	if err := os.MkdirAll(Root, 0o755); err != nil {
		return fmt.Errorf("open record of labs: %w", err)
	}
	// The lock is on the folder itself, so that there is no file to leave behind.
	dir, err := os.Open(Root)
	if err != nil {
		return fmt.Errorf("open record of labs: %w", err)
	}
	defer func() { _ = dir.Close() }()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock record of labs: %w", err)
	}
	r, err := read()
	if err != nil {
		return err
	}
	if err := f(&r); err != nil {
		return err
	}
	return write(r)
}

// Read returns the record. No lab is an empty record.
func Read() (Record, error) { return read() }

// Names returns the labs, sorted.
func (r Record) Names() []string {
	names := make([]string, 0, len(r.Labs))
	for n := range r.Labs {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Claim returns the lab's slot: the one it has, else wish if that is free, else the first free one. A slot is free if
// no lab has it and used, the address ranges that the machine has routes or addresses for, leave its subnet alone.
func (r *Record) Claim(lab, dir string, wish int, used []netip.Prefix) (int, error) {
	if e, ok := r.Labs[lab]; ok {
		if e.Dir != dir {
			return 0, fmt.Errorf("lab %q exists in %s; take it down first: isthmus-lab down --name %s", lab, e.Dir, lab)
		}
		return e.Slot, nil
	}
	taken := map[int]bool{}
	for _, e := range r.Labs {
		taken[e.Slot] = true
	}
	free := func(slot int) bool {
		subnet := layout.Lab{Slot: slot}.Subnet()
		return slot >= 0 && slot < layout.Slots && !taken[slot] && !slices.ContainsFunc(used, subnet.Overlaps)
	}
	slots := []int{wish}
	for i := range layout.Slots {
		slots = append(slots, i)
	}
	i := slices.IndexFunc(slots, free)
	if i < 0 {
		return 0, fmt.Errorf("%w: every subnet of %s is used, by labs %v or by routes of this machine", ErrFull, layout.Wire, r.Names())
	}
	r.Labs[lab] = Entry{Slot: slots[i], Dir: dir}
	return slots[i], nil
}

func file() string { return filepath.Join(Root, "labs.json") }

func read() (Record, error) {
	r := Record{Labs: map[string]Entry{}, Sysctls: map[string]string{}}
	data, err := os.ReadFile(file())
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("read record of labs: %w", err)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("read record of labs, %s: %w", file(), err)
	}
	return r, nil
}

func write(r Record) error {
	if len(r.Labs) == 0 && len(r.Sysctls) == 0 && len(r.Dirs) == 0 {
		if err := os.Remove(file()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove record of labs: %w", err)
		}
		_ = os.Remove(Root) // stays while a lab that is not in the record has sockets in it
		return nil
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(file()+".new", data, 0o644); err != nil {
		return fmt.Errorf("write record of labs: %w", err)
	}
	return os.Rename(file()+".new", file())
}
