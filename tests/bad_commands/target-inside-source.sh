mkdir region-here/inside
rmdir region-there
ln -s region-here/inside region-there
backhaul plan plan.yaml
