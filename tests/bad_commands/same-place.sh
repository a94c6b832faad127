mv region-here/orders-full.xbstream.gz home
rmdir region-there
ln -s region-here region-there
backhaul plan plan.yaml
