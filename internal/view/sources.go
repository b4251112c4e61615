package view

import (
	"fmt"
	"slices"
	"strings"

	"isthmus.dev/isthmus/internal/mesh"
	"isthmus.dev/isthmus/internal/plan"
	"isthmus.dev/isthmus/internal/screen"
)

// sources shows what a plan was rendered from and who vouches for it, and images that are no longer what they were.
func sources(p *screen.Page, pl plan.Plan) {
	for _, c := range pl.Charts {
		by := ""
		switch {
		case c.Unasked:
			by = "as the lock says; the registry was not reached, so whether the tag has moved is not known"
		case c.By != "":
			by = "as the " + string(c.By) + " says"
		}
		fmt.Fprintf(p, "%s %s\n  %s %s\n", p.Bold("charts"), c.Reference, c.Digest, p.Dim(by))
	}
	if slices.ContainsFunc(pl.Charts, func(c mesh.Chart) bool { return c.By == "" && strings.HasPrefix(c.Reference, mesh.OCI) }) {
		fmt.Fprintf(p, "%s only the registry says that these are the charts of that tag, and it may say otherwise tomorrow; to keep them: isthmus lock\n", p.Mark(screen.Hmm))
	}
	unknown := 0
	for _, i := range pl.Images {
		switch {
		case i.Moved():
			fmt.Fprintf(p, "%s image %s has moved: its tag leads to %s now, and the lock says %s. Pods that start from now on may get the other one; when that is right: isthmus lock\n",
				p.Mark(screen.Hmm), i.Image, i.Now, i.Locked)
		case i.Unknown != "":
			unknown++
		}
	}
	if unknown > 0 {
		fmt.Fprintf(p, "%s of %d of %d images in the lock it is not known whether their tags have moved: isthmus images --digests says why\n",
			p.Mark(screen.Hmm), unknown, len(pl.Images))
	}
}
