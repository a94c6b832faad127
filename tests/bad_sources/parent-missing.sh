wants '{ location: orders-full.xbstream.gz, from: here, to: [there], parent: orders-first.xbstream.gz }'
backhaul -q run plan.yaml
