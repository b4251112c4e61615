package build

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestShortage(t *testing.T) {
	gone := errors.New("gone")
	disks := map[string]struct {
		device uint64
		free   int64
		err    error
	}{
		"/mod": {device: 1, free: 3 << 30}, "/cache": {device: 1, free: 3 << 30}, "/lab": {device: 2, free: 1 << 30},
		"/gone": {err: gone},
	}
	cases := map[string]struct {
		reason string
		need   []space
		want   string
	}{
		"Nothing": {
			reason: "When nothing is to be made, a full disk is no matter.",
		},
		"Enough": {
			reason: "Just enough is enough.",
			need:   []space{{"/mod", 1 << 30}, {"/cache", 2 << 30}, {"/lab", 1 << 30}},
		},
		"Together": {
			reason: "Folders of one file system take from the same space; how much is missing is said.",
			need:   []space{{"/mod", 2 << 30}, {"/cache", 1 << 30}, {"/mod", 3 << 29}, {"/lab", 1 << 30}},
			want: "not enough disk space to build the lab: about 4.5 GiB needed, 3.0 GiB free, 1.5 GiB missing for /mod, /cache\n" +
				"  Make room, or name folders on another disk: GOMODCACHE and GOCACHE for Go, the lab's own cache folder.",
		},
		"Second": {
			reason: "Each file system is looked at.",
			need:   []space{{"/mod", 1 << 30}, {"/lab", 2 << 30}},
			want: "not enough disk space to build the lab: about 2.0 GiB needed, 1.0 GiB free, 1.0 GiB missing for /lab\n" +
				"  Make room, or name folders on another disk: GOMODCACHE and GOCACHE for Go, the lab's own cache folder.",
		},
		"Unknown": {
			reason: "A folder that cannot be looked at is an error.",
			need:   []space{{"/gone", 1}},
			want:   "gone",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := shortage(tc.need, func(dir string) (uint64, int64, error) {
				d := disks[dir]
				return d.device, d.free, d.err
			})
			got := ""
			if err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestFreeLooksAtTheNearestFolderThatExists(t *testing.T) {
	dir := t.TempDir()
	device, bytes, err := free(dir)
	if err != nil {
		t.Fatal(err)
	}
	below, _, err := free(dir + "/not/yet/there")
	if err != nil || below != device || bytes <= 0 {
		t.Errorf("free: device %d with %d bytes, below it device %d, %v", device, bytes, below, err)
	}
}
