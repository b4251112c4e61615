package verify

import (
	"fmt"

	"isthmus.dev/isthmus/internal/facts"
)

func aService(name, kind, ports string) facts.Service {
	return facts.Service{Namespace: "shop", Name: name, Kind: kind, Ports: ports, Selector: "-"}
}

func theServices(east, west []facts.Service) func(*Input) {
	return func(in *Input) {
		in.Now.Clusters["east"].Services, in.Now.Clusters["west"].Services = east, west
	}
}

var serviceCases = []checkCase{
	{id: "CHK051", reason: "no Services"},
	{id: "CHK051", reason: "the same in both", change: theServices(
		[]facts.Service{aService("cart", "ClusterIP", "80/TCP:http")}, []facts.Service{aService("cart", "ClusterIP", "80/TCP:http")})},
	{id: "CHK051", reason: "in one only", change: theServices([]facts.Service{aService("cart", "ClusterIP", "80/TCP:http")}, nil)},
	{id: "CHK051", reason: "a type that callers do not notice", change: theServices(
		[]facts.Service{aService("cart", "ClusterIP", "80/TCP:http")}, []facts.Service{aService("cart", "LoadBalancer", "80/TCP:http")})},
	{
		id: "CHK051", reason: "other ports", change: theServices(
			[]facts.Service{aService("cart", "ClusterIP", "80/TCP:http")}, []facts.Service{aService("cart", "ClusterIP", "8080/TCP:http")}),
		want: []string{"warning west/east: Service shop/cart is 8080/TCP:http in west, and 80/TCP:http in east"},
	},
	{
		id: "CHK051", reason: "one has no address of its own", change: theServices(
			[]facts.Service{aService("cart", "Headless", "80/TCP:http")}, []facts.Service{aService("cart", "ClusterIP", "80/TCP:http")}),
		want: []string{"warning east/west: Service shop/cart is headless 80/TCP:http in east, and 80/TCP:http in west"},
	},
	{
		id: "CHK051", reason: "many", change: func(in *Input) {
			var east, west []facts.Service
			for i := range mostServices + 5 {
				east = append(east, aService(fmt.Sprintf("s%02d", i), "ClusterIP", "80/TCP"))
				west = append(west, aService(fmt.Sprintf("s%02d", i), "ClusterIP", "81/TCP"))
			}
			theServices(east, west)(in)
		},
		want: manyServices(),
	},
}

func manyServices() []string {
	var out []string
	for i := range mostServices {
		out = append(out, fmt.Sprintf("warning west/east: Service shop/s%02d is 81/TCP in west, and 80/TCP in east", i))
	}
	return append(out, "warning : 5 more Services differ from cluster to cluster")
}
