"""What a classifier looks at: clusters of relevance maps, and of maps with their images.

graph       nearest neighbours, and joining the parts of a graph
spectral    spectral clustering with eigengaps
isomap      distances along the graph as coordinates
spray       clusters of maps: SpRAy
gebi        clusters of maps and images: GEBI
enrichment  which artefacts are frequent in which cluster
view        a picture of all points in two dimensions
"""
