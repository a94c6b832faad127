mkdir beyond region-here/dumps
ln -s ../beyond region-there/dumps
mv region-here/orders-full.xbstream.gz region-here/dumps/
wants '{ location: dumps/orders-full.xbstream.gz, from: here, to: [there] }'
backhaul -q run plan.yaml
