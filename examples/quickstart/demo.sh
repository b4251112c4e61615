#!/bin/sh
# The main job, from nothing: two real clusters on this machine become one mesh, and real calls prove it.
# Every command printed here is one that a person would type. Needs root, because the lab makes network namespaces.
set -eu
cd "$(dirname "$0")/../.."
doc=examples/quickstart/mesh.yaml
run() {
	printf '\n$ %s\n' "$*"
	"$@"
}
run bin/isthmus-lab up
KUBECONFIG=$(bin/isthmus-lab kubeconfig --path)
export KUBECONFIG
printf '\n$ bin/isthmus image -f %s --output - | bin/isthmus-lab load-image -\n' $doc
bin/isthmus image -f $doc --output - | bin/isthmus-lab load-image -
run bin/isthmus check -f $doc
run bin/isthmus plan -f $doc
run bin/isthmus apply -f $doc
run bin/isthmus verify -f $doc
run bin/isthmus status -f $doc
cat <<END

Two clusters, one mesh. They stay up: KUBECONFIG=$KUBECONFIG, contexts east and west.
Take it all away: bin/isthmus-lab down
END
