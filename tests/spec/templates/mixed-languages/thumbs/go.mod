module thumbs

go 1.24
