// SPDX-License-Identifier: Apache-2.0

package plan

import "strings"

const (
	pagesCovered         = "pages of alloc_page, by who took the page"
	slabObjectsCovered   = "objects of slabs, by who allocated each"
	linpoolObjectCovered = "objects of linpools, by who allocated each"

	pagesNotCovered          = "pages of alloc_page, and the slabs and linpool chunks in them"
	slabObjectsNotCovered    = "objects of slabs, one by one"
	linpoolObjectsNotCovered = "objects of linpools, one by one"
)

// What tells the events that no probe tells.
const (
	byBitmap       = "the bitmap in the slab's page, read at each look"
	byTaker        = "page taken: a stack means who took the page (--mode exact tells who allocated each object)"
	byLinpoolState = "the linpool's own state, read at each look"
	byChunk        = "page taken, block allocated"
	byLinpoolChunk = "linpool chunk added: a stack means who took the chunk (--linpool-objects tells who allocated each object)"
	byPoolBlock    = "block allocated: a pool is a block of class Pool"
	byBulk         = "blocks freed and pages returned, one by one"
	byBlock        = "block allocated, for chunks of more than a page"
)

// remedyPartial follows what can be followed, and says what not.
const remedyPartial = "with --partial to follow what can be followed"

// addProgram plans the probes in BIRD's own code.
func (p *Plan) addProgram(s *survey) {
	p.Functions, p.NotFound = s.functions, s.notFound
	havePages := p.addPages(s)
	p.addSlabs(s, havePages)
	p.addLinpools(s, havePages)
	p.cover(Coverage{Event: PoolCreated, CoveredBy: byPoolBlock})
	freed := Coverage{Event: PoolFreed, CoveredBy: byBulk}
	if !havePages {
		freed.CoveredBy, freed.Missing = "blocks freed, one by one", pagesNotCovered
	}
	p.cover(freed)
}

func (p *Plan) addPages(s *survey) bool {
	taken, returned, err := s.pageSites()
	if err != nil {
		p.NotCovered = append(p.NotCovered, pagesNotCovered+": "+err.Error())
		p.Incomplete = append(p.Incomplete, Incomplete{Layer: layerPages, Why: err.Error(), Remedy: remedyPartial})
		p.cover(Coverage{Event: PageTaken, Missing: err.Error()})
		p.cover(Coverage{Event: PageReturned, Missing: err.Error()})
		return false
	}
	p.Covered = append(p.Covered, pagesCovered)
	p.cover(Coverage{Event: PageTaken, Sites: taken})
	p.cover(Coverage{Event: PageReturned, Sites: returned})
	return true
}

// addSlabs plans the objects of slabs, which are recorded by page: without the
// pages there is nothing to record them in.
func (p *Plan) addSlabs(s *survey, havePages bool) {
	allocated := Coverage{Event: SlabObjectAllocated}
	freed := Coverage{Event: SlabObjectFreed, CoveredBy: byBitmap}
	switch {
	case !havePages:
		allocated.Missing = "the pages they lie in are not followed"
		freed.CoveredBy, freed.Missing = "", allocated.Missing
	case p.Options.Mode == Pages:
		allocated.CoveredBy = byTaker
		p.NotCovered = append(p.NotCovered, slabObjectsNotCovered+", in this mode: a stack means who took the page")
	default:
		sites, err := s.slabSites()
		if err != nil {
			allocated.Missing = err.Error()
			p.NotCovered = append(p.NotCovered, slabObjectsNotCovered+": "+err.Error())
			p.Incomplete = append(p.Incomplete, Incomplete{Layer: layerSlabObjects, Why: err.Error(),
				Remedy: "with --mode pages to follow slabs by page, or " + remedyPartial})
			break
		}
		multi, byPage, notes := s.multislabSites()
		p.Notes = append(p.Notes, notes...)
		allocated.Sites = append(sites, multi...)
		p.Covered = append(p.Covered, slabObjectsCovered)
		if len(byPage) > 0 {
			allocated.CoveredBy = "page taken, for " + strings.Join(byPage, "; ")
			p.NotCovered = append(p.NotCovered, byPage...)
		}
	}
	p.cover(allocated)
	p.cover(freed)
}

func (p *Plan) addLinpools(s *survey, havePages bool) {
	chunk := Coverage{Event: LinpoolChunkAdded, CoveredBy: byChunk}
	if !havePages {
		chunk.CoveredBy, chunk.Missing = byBlock, "chunks of a page: pages are not followed"
	}
	p.cover(chunk)
	p.cover(Coverage{Event: LinpoolFlushed, CoveredBy: byLinpoolState})
	p.cover(Coverage{Event: LinpoolRestored, CoveredBy: byLinpoolState})

	object := Coverage{Event: LinpoolObjectAllocated}
	if !p.Options.LinpoolObjects {
		object.CoveredBy = byLinpoolChunk
		p.NotCovered = append(p.NotCovered, linpoolObjectsNotCovered+" (--linpool-objects)")
		p.cover(object)
		return
	}
	sites, notes, err := s.linpoolSites()
	if err == nil {
		object.Sites = sites
		p.Covered = append(p.Covered, linpoolObjectCovered)
		p.Notes = append(p.Notes, notes...)
	} else {
		object.Missing = err.Error()
		p.NotCovered = append(p.NotCovered, linpoolObjectsNotCovered+": "+err.Error())
		p.Incomplete = append(p.Incomplete, Incomplete{Layer: layerLinpoolObjects, Why: err.Error(),
			Remedy: "without --linpool-objects to follow linpools by chunk, or " + remedyPartial})
	}
	p.cover(object)
}
