"""`mtpfs import`: from what is on the phone to photos in directories here, and to room on the phone.

`finding` looks for photos and videos on the phone, in groups that belong together. `memory` knows what earlier imports
brought over, `shelf` what is in the directory here and where something goes. `plan` puts these together: what is to be
done with each file. `bringing` does it, and `clearing` deletes on the phone what is proven to be here. `telling` says
what has become of each file, and at the end how much it was.
"""
